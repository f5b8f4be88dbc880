//! A page that is written for WebNN alone runs unchanged where the browser has WebNN and where fewbit gives it.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use axum::http::header::CONTENT_TYPE;
use axum::response::Html;
use axum::routing::get;
use fewbit_browser_tests::{LIMIT, browsers, package, serve, site};
use fewbit_host::browser::{Installed, Session, SessionOptions, find};
use fewbit_host::target::Browser;
use serde_json::{Value, json};

/// What the page finds in a browser, and whether `navigator.ml` is the browser's own.
async fn answer(installed: &Installed, base: &str) -> Result<(bool, Value)> {
    let options = SessionOptions {
        webnn: installed.browser == Browser::Shell,
        ..SessionOptions::default()
    };
    let mut session = Session::open(installed, &options, base).await?;
    session.goto(&format!("{base}/webnn.html")).await?;
    let script = "
      while (!window.finished) await new Promise((resolve) => setTimeout(resolve, 20));
      const answer = await window.finished;
      const own = /native code/.test(Function.prototype.toString.call(MLGraphBuilder));
      return { own, answer };";
    let found = session.work(script, json!({}), LIMIT).await;
    session.close().await;
    let found = found?;
    Ok((found["own"] == true, found["answer"].clone()))
}

fn numbers(value: &Value) -> Vec<f64> {
    let list = value.as_array().into_iter().flatten();
    list.filter_map(Value::as_f64).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_for_webnn_runs_unchanged() -> Result<()> {
    const TEST: &str = "a_page_for_webnn_runs_unchanged";
    let Some(folder) = package(TEST) else {
        return Ok(());
    };
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("pages/webnn.html");
    let page = std::fs::read_to_string(&page).with_context(|| page.display().to_string())?;
    let pages = site(&folder).route("/webnn.html", get(move || async move { Html(page) }));
    let base = serve(pages).await?;
    let mut all = Vec::new();
    for installed in browsers(TEST)? {
        let name = installed.browser.name();
        let (own, found) = answer(&installed, &base).await.context(name)?;
        ensure!(!own, "{name} has WebNN of its own");
        all.push((name, found));
    }
    match find(Browser::Shell) {
        Ok(shell) => {
            let (own, found) = answer(&shell, &base).await.context("shell")?;
            ensure!(own, "the shell's WebNN was replaced");
            all.push(("shell", found));
        }
        Err(error) => eprintln!("{TEST}: skipped in shell: {error}"),
    }
    let Some((_, first)) = all.first() else {
        return Ok(());
    };
    for (name, found) in &all {
        for (at, answer) in found["answers"]
            .as_array()
            .into_iter()
            .flatten()
            .enumerate()
        {
            let wanted = &first["answers"][at];
            ensure!(
                answer["larger"] == wanted["larger"] && answer["best"] == wanted["best"],
                "{name}: {answer} where {wanted} was computed elsewhere"
            );
            let (got, wanted) = (
                numbers(&answer["probabilities"]),
                numbers(&wanted["probabilities"]),
            );
            ensure!(got.len() == 7, "{name}: {answer}");
            let close = got.iter().zip(&wanted).all(|(a, b)| (a - b).abs() < 1e-5);
            ensure!(
                close,
                "{name}: {got:?} where {wanted:?} was computed elsewhere"
            );
        }
        ensure!(
            found["refused"]
                == json!([
                    "InvalidStateError",
                    "TypeError",
                    "TypeError",
                    "TypeError",
                    "TypeError",
                    "TypeError",
                    "string",
                    "InvalidStateError"
                ]),
            "{name}: {}",
            found["refused"]
        );
        println!("{name}: {}", found["answers"][0]["probabilities"]);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_for_webnn_runs_unchanged() -> Result<()> {
    const TEST: &str = "a_worker_for_webnn_runs_unchanged";
    let Some(folder) = package(TEST) else {
        return Ok(());
    };
    let script = include_str!("../pages/webnn-worker.js");
    let script = move || async move { ([(CONTENT_TYPE, "text/javascript")], script) };
    let base = serve(site(&folder).route("/webnn-worker.js", get(script))).await?;
    let mut all = browsers(TEST)?;
    match find(Browser::Shell) {
        Ok(shell) => all.push(shell),
        Err(error) => eprintln!("{TEST}: skipped in shell: {error}"),
    }
    for installed in all {
        let name = installed.browser.name();
        let options = SessionOptions {
            webnn: installed.browser == Browser::Shell,
            ..SessionOptions::default()
        };
        let mut session = Session::open(&installed, &options, &base).await?;
        session.goto(&base).await?;
        let work = "
          const worker = new Worker('/webnn-worker.js', { type: 'module' });
          const answer = new Promise((resolve, reject) => {
            worker.onmessage = ({ data }) => resolve(data);
            worker.onerror = ({ message }) => reject(new Error(message));
          });
          worker.postMessage(input);
          return answer;";
        let x = [0.5_f64, -1.0, 2.0, 0.0, 0.25, -0.125];
        let found = session.work(work, json!(x), LIMIT).await;
        session.close().await;
        let found = found.context(name)?;
        let wanted = x.chunks(3).flat_map(|row| {
            let sum: f64 = row.iter().map(|x| (2.0 * x).exp()).sum();
            row.iter().map(move |x| (2.0 * x).exp() / sum)
        });
        let got = numbers(&found["values"]);
        let near = |(a, b): (&f64, f64)| (a - b).abs() < 1e-6;
        ensure!(
            got.len() == 6 && got.iter().zip(wanted).all(near),
            "{name}: {found}"
        );
        ensure!(
            found["refused"] == "true InvalidStateError",
            "{name}: {found}"
        );
    }
    Ok(())
}

/// `name: what happened`, for each thing that a page can get wrong: with `fewbit/webnn` on wasm, or with the browser's own WebNN.
const WRONG: &str = r#"
  if (input.ours) (await import("/fewbit/webnn.js")).install({ force: true, backend: "wasm" });
  const float = (...shape) => ({ dataType: "float32", shape });
  const told = {};
  const tell = async (name, step) => {
    try {
      const answer = await step();
      told[name] = answer === undefined ? "nothing" : answer;
    } catch (error) {
      told[name] = error.name;
    }
  };
  const relu = async (context, shape = [2]) => {
    const builder = new MLGraphBuilder(context);
    return builder.build({ y: builder.relu(builder.input("x", float(...shape))) });
  };
  const pair = async (context, shape = [2]) => ({
    x: await context.createTensor({ ...float(...shape), writable: true }),
    y: await context.createTensor({ ...float(...shape), readable: true }),
  });
  const works = async (context) => {
    const graph = await relu(context);
    const { x, y } = await pair(context);
    context.writeTensor(x, Float32Array.of(-1, 2));
    context.dispatch(graph, { x }, { y });
    return [...new Float32Array(await context.readTensor(y))];
  };

  const [one, two] = [await navigator.ml.createContext(), await navigator.ml.createContext()];
  const graph = await relu(one);
  const own = await pair(one);
  const other = await pair(two);
  await tell("tensor of another context", () => one.dispatch(graph, { x: other.x }, { y: own.y }));
  await tell("graph of another context", () => two.dispatch(graph, { x: other.x }, { y: other.y }));
  await tell("read another context's", () => two.readTensor(own.y));
  await tell("one tensor twice", () => one.dispatch(graph, { x: own.y }, { y: own.y }));
  await tell("wrong shape", async () => one.dispatch(graph, { x: (await pair(one, [3])).x }, { y: own.y }));
  await tell("unknown name", () => one.dispatch(graph, { z: own.x }, { y: own.y }));
  await tell("too few bytes", () => one.writeTensor(own.x, new Float32Array(1)));
  await tell("not readable", () => one.readTensor(own.x));
  await tell("too small a buffer", () => one.readTensor(own.y, new Float32Array(1)));
  await tell("no such type", () => one.createTensor({ dataType: "float64", shape: [1] }));
  await tell("too large", () => one.createTensor(float(65536, 65536)));
  const builder = new MLGraphBuilder(one);
  const x = builder.input("x", float(2, 3));
  await tell("operand of another builder", () => new MLGraphBuilder(one).relu(x));
  await tell("wrong ranks", () => builder.matmul(x, builder.input("v", float(3))));
  await tell("wrong option", () => builder.conv2d(builder.input("i", float(1, 1, 4, 4)), builder.input("f", float(1, 1, 2, 2)), { inputLayout: "nope" }));
  await tell("an input as output", () => new MLGraphBuilder(one).build({ y: x }));
  await tell("after all that", () => works(one));

  // Everything that was asked before destroy() is done; what comes after is refused.
  const kept = await pair(one);
  one.writeTensor(kept.x, Float32Array.of(-3, 4));
  one.dispatch(graph, { x: kept.x }, { y: kept.y });
  kept.x.destroy();
  graph.destroy();
  await tell("destroyed after a dispatch", async () => [...new Float32Array(await one.readTensor(kept.y))]);
  await tell("destroyed tensor", () => one.writeTensor(kept.x, new Float32Array(2)));
  await tell("destroyed graph", () => one.dispatch(graph, { x: own.x }, { y: kept.y }));

  // A context that is destroyed in the midst of a dispatch.
  const long = await relu(two, [1 << 20]);
  const large = await pair(two, [1 << 20]);
  two.dispatch(long, { x: large.x }, { y: large.y });
  const reading = two.readTensor(large.y);
  two.destroy();
  await tell("read of a lost context", () => reading);
  await tell("lost", async () => typeof (await two.lost).message);
  await tell("builder of a lost context", () => new MLGraphBuilder(two));
  await tell("tensor of a lost context", () => two.createTensor(float(1)));

  // More than the memory there is: the context is lost, and the page goes on. Not something to try on the browser's own.
  if (!input.ours) return told;
  const third = await navigator.ml.createContext();
  const huge = new MLGraphBuilder(third);
  const seed = huge.input("x", float(1, 1));
  let sum = null;
  for (let i = 0; i < 12; i++) {
    const wide = huge.exp(huge.expand(huge.add(seed, huge.constant("float32", i)), [16384, 16384]));
    sum = sum === null ? wide : huge.add(huge.sin(sum), huge.reverse(wide));
  }
  await tell("beyond memory", async () => {
    const large = await huge.build({ y: huge.reduceSum(sum, { axes: [0, 1] }) });
    const x = await third.createTensor({ ...float(1, 1), writable: true });
    const y = await third.createTensor({ ...float(), readable: true });
    third.dispatch(large, { x }, { y });
    return (await third.lost).message !== "" ? "lost" : "lost without a reason";
  });
  await tell("after that", async () => works(await navigator.ml.createContext()));
  return told;"#;

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_wrong_is_told_and_leaves_nothing_behind() -> Result<()> {
    const TEST: &str = "what_goes_wrong_is_told_and_leaves_nothing_behind";
    let Some(folder) = package(TEST) else {
        return Ok(());
    };
    let base = serve(site(&folder)).await?;
    let mut all: Vec<(Installed, bool)> = Vec::new();
    all.extend(
        browsers(TEST)?
            .into_iter()
            .map(|installed| (installed, true)),
    );
    // Chromium's own WebNN is held to the same.
    match find(Browser::Shell) {
        Ok(shell) => all.push((shell, false)),
        Err(error) => eprintln!("{TEST}: skipped in shell: {error}"),
    }
    for (installed, ours) in all {
        let name = installed.browser.name();
        let options = SessionOptions {
            webnn: !ours,
            ..SessionOptions::default()
        };
        let mut session = Session::open(&installed, &options, &base).await?;
        session.goto(&base).await?;
        let told = session.work(WRONG, json!({ "ours": ours }), LIMIT).await;
        session.close().await;
        let mut told = told.context(name)?;
        // Where memory ends is the browser's business: either it could not be built, or the context was lost.
        let beyond = told["beyond memory"].take();
        ensure!(
            !ours
                || [
                    "lost",
                    "QuotaExceededError",
                    "OperationError",
                    "InvalidStateError"
                ]
                .iter()
                .any(|fine| beyond == *fine),
            "{name}: beyond memory: {beyond}"
        );
        let after = told["after that"].take();
        ensure!(
            !ours || after == json!([0, 2]),
            "{name}: after that: {after}"
        );
        let expected = json!({
            "tensor of another context": "TypeError",
            "graph of another context": "TypeError",
            "read another context's": "TypeError",
            "one tensor twice": "TypeError",
            "wrong shape": "TypeError",
            "unknown name": "TypeError",
            "too few bytes": "TypeError",
            "not readable": "TypeError",
            "too small a buffer": "TypeError",
            "no such type": "TypeError",
            "too large": "TypeError",
            "operand of another builder": "TypeError",
            "wrong ranks": "TypeError",
            "wrong option": "TypeError",
            "an input as output": "TypeError",
            "after all that": [0, 2],
            "destroyed after a dispatch": [0, 4],
            "destroyed tensor": "InvalidStateError",
            "destroyed graph": "InvalidStateError",
            "read of a lost context": "InvalidStateError",
            "lost": "string",
            "builder of a lost context": "InvalidStateError",
            "tensor of a lost context": "InvalidStateError",
            "beyond memory": null,
            "after that": null,
        });
        ensure!(told == expected, "{name}: {told:#}");
    }
    Ok(())
}
