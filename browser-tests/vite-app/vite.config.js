// The package is taken from where it was built, as `npm install` would put it into node_modules.
export default {
  resolve: { alias: { fewbit: `${process.env.FEWBIT_PACKAGE}/index.js` } },
  build: { target: "es2022" },
  worker: { format: "es" },
};
