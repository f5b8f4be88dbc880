// A worker written for WebNN; the import changes nothing where the browser has it.
import "/fewbit/webnn.js";

onmessage = async ({ data }) => {
  try {
    const context = await navigator.ml.createContext();
    const builder = new MLGraphBuilder(context);
    const float = { dataType: "float32", shape: [2, 3] };
    const x = builder.input("x", float);
    const graph = await builder.build({ y: builder.softmax(builder.mul(x, builder.constant("float32", 2)), 1) });
    const input = await context.createTensor({ ...float, writable: true });
    const output = await context.createTensor({ ...float, readable: true });
    context.writeTensor(input, Float32Array.from(data));
    context.dispatch(graph, { x: input }, { y: output });
    const values = [...new Float32Array(await context.readTensor(output))];
    let refused = "nothing";
    try {
      builder.relu(x);
    } catch (error) {
      refused = `${error instanceof DOMException} ${error.name}`;
    }
    postMessage({ values, refused });
  } catch (error) {
    postMessage({ error: `${error.name}: ${error.message}` });
  }
};
