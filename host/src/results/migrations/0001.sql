-- One call of `fewbit bench` or `fewbit verify`.
CREATE TABLE runs (
  run VARCHAR NOT NULL,
  started TIMESTAMPTZ NOT NULL,
  command VARCHAR NOT NULL,
  arguments VARCHAR[],
  fewbit VARCHAR NOT NULL,
  commit_id VARCHAR,
  machine VARCHAR,
  os VARCHAR,
  cpu VARCHAR,
  cores INTEGER,
  memory BIGINT
);

-- One model and task on one target.
CREATE TABLE cells (
  cell VARCHAR NOT NULL,
  run VARCHAR NOT NULL,
  started TIMESTAMPTZ NOT NULL,
  target VARCHAR NOT NULL,
  outcome VARCHAR NOT NULL,
  stability VARCHAR,
  validity VARCHAR,
  reason VARCHAR,
  model VARCHAR NOT NULL,
  architecture VARCHAR,
  block_format VARCHAR,
  bits_per_weight DOUBLE,
  parameters BIGINT,
  task VARCHAR NOT NULL,
  browser_name VARCHAR,
  browser_version VARCHAR,
  driver VARCHAR,
  user_agent VARCHAR,
  adapter VARCHAR,
  adapter_vendor VARCHAR,
  adapter_driver VARCHAR,
  adapter_software BOOLEAN,
  adapter_fingerprint VARCHAR,
  features VARCHAR[],
  flags VARCHAR[],
  backend VARCHAR,
  variant VARCHAR,
  threads_asked INTEGER,
  threads INTEGER,
  activations VARCHAR,
  memory_wasm BIGINT,
  memory_gpu BIGINT,
  memory_peak_resident BIGINT,
  parity_max_abs DOUBLE,
  parity_max_rel DOUBLE
);

-- What was measured in a cell; "samples" are the repeats in order, warm-up left out.
CREATE TABLE measurements (
  cell VARCHAR NOT NULL,
  metric VARCHAR NOT NULL,
  unit VARCHAR NOT NULL,
  repeats INTEGER NOT NULL,
  p50 DOUBLE NOT NULL,
  p90 DOUBLE NOT NULL,
  p99 DOUBLE NOT NULL,
  mean DOUBLE NOT NULL,
  samples DOUBLE[] NOT NULL
);

-- How each output of a verified cell compared with its reference.
CREATE TABLE tensors (
  cell VARCHAR NOT NULL,
  tensor VARCHAR NOT NULL,
  compared BIGINT NOT NULL,
  max_abs DOUBLE,
  max_rel DOUBLE,
  atol DOUBLE,
  rtol DOUBLE,
  holds BOOLEAN NOT NULL,
  note VARCHAR
);

-- One line a cell, with the medians of the usual metrics.
CREATE VIEW results AS
SELECT
  c.started, r.command, c.target, c.outcome, c.reason, c.model, c.block_format, c.task,
  c.browser_name, c.browser_version, c.adapter, c.adapter_software, c.variant, c.threads, c.activations,
  m.prefill_tokens_per_second, m.decode_tokens_per_second, m.time_to_first_token_ms,
  m.load_ms, m.compile_ms, m.first_run_ms, m.embed_ms,
  c.memory_peak_resident, c.parity_max_abs, c.parity_max_rel,
  r.fewbit, r.commit_id, r.machine, c.run, c.cell
FROM cells c
JOIN runs r ON r.run = c.run
LEFT JOIN (
  SELECT
    cell,
    max(p50) FILTER (metric = 'prefill_tokens_per_second') AS prefill_tokens_per_second,
    max(p50) FILTER (metric = 'decode_tokens_per_second') AS decode_tokens_per_second,
    max(p50) FILTER (metric = 'time_to_first_token_ms') AS time_to_first_token_ms,
    max(p50) FILTER (metric = 'load_ms') AS load_ms,
    max(p50) FILTER (metric = 'compile_ms') AS compile_ms,
    max(p50) FILTER (metric = 'first_run_ms') AS first_run_ms,
    max(p50) FILTER (metric = 'embed_ms') AS embed_ms
  FROM measurements GROUP BY cell
) m ON m.cell = c.cell;
