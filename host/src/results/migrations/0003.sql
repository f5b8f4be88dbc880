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
  parity_max_rel DOUBLE,
  -- Why a column of the view "results" is null, by its name; "*" is all of them. NULL in rows of version 1.
  absent MAP(VARCHAR, VARCHAR)
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

-- One line a cell. METRIC is the median of the repeats, METRIC_p90 and METRIC_p99 the values that a share of 0.9 and 0.99
-- of them does not exceed.
CREATE VIEW results AS
SELECT
  c.started, r.command, c.target, c.outcome, c.reason, c.stability, c.validity, c.model, c.block_format, c.task,
  c.browser_name, c.browser_version, c.adapter, c.adapter_vendor, c.adapter_driver, c.adapter_software,
  c.adapter_fingerprint, c.features, c.flags, c.variant, c.threads, c.activations,
  m.repeats,
  m.prefill_tokens_per_second, m.prefill_tokens_per_second_p90, m.prefill_tokens_per_second_p99,
  m.decode_tokens_per_second, m.decode_tokens_per_second_p90, m.decode_tokens_per_second_p99,
  m.time_to_first_token_ms, m.time_to_first_token_ms_p90, m.time_to_first_token_ms_p99,
  m.embed_ms, m.embed_ms_p90, m.embed_ms_p99,
  m.load_ms,
  m.compile_ms,
  m.first_run_ms,
  m.input_tokens,
  c.memory_wasm, c.memory_gpu, c.memory_peak_resident, c.parity_max_abs, c.parity_max_rel,
  r.fewbit, r.commit_id, r.machine, r.os, r.cpu, r.cores, c.absent, c.run, c.cell
FROM cells c
JOIN runs r ON r.run = c.run
LEFT JOIN (
  SELECT
    cell,
    max(p50) FILTER (metric = 'prefill_tokens_per_second') AS prefill_tokens_per_second,
    max(p90) FILTER (metric = 'prefill_tokens_per_second') AS prefill_tokens_per_second_p90,
    max(p99) FILTER (metric = 'prefill_tokens_per_second') AS prefill_tokens_per_second_p99,
    max(p50) FILTER (metric = 'decode_tokens_per_second') AS decode_tokens_per_second,
    max(p90) FILTER (metric = 'decode_tokens_per_second') AS decode_tokens_per_second_p90,
    max(p99) FILTER (metric = 'decode_tokens_per_second') AS decode_tokens_per_second_p99,
    max(p50) FILTER (metric = 'time_to_first_token_ms') AS time_to_first_token_ms,
    max(p90) FILTER (metric = 'time_to_first_token_ms') AS time_to_first_token_ms_p90,
    max(p99) FILTER (metric = 'time_to_first_token_ms') AS time_to_first_token_ms_p99,
    max(p50) FILTER (metric = 'embed_ms') AS embed_ms,
    max(p90) FILTER (metric = 'embed_ms') AS embed_ms_p90,
    max(p99) FILTER (metric = 'embed_ms') AS embed_ms_p99,
    max(p50) FILTER (metric = 'load_ms') AS load_ms,
    max(p50) FILTER (metric = 'compile_ms') AS compile_ms,
    max(p50) FILTER (metric = 'first_run_ms') AS first_run_ms,
    max(p50) FILTER (metric = 'input_tokens') AS input_tokens,
    max(repeats) FILTER (metric IN ('time_to_first_token_ms', 'embed_ms')) AS repeats
  FROM measurements GROUP BY cell
) m ON m.cell = c.cell;

-- Files that `fewbit convert` made; the latest row of a result counts.
CREATE TABLE conversions (
  finished TIMESTAMPTZ NOT NULL,
  -- The model as a path, and the sum of its files' sums (see "fewbit models verify").
  source VARCHAR NOT NULL,
  source_sha256 VARCHAR NOT NULL,
  fewbit VARCHAR NOT NULL,
  -- JSON
  options VARCHAR NOT NULL,
  result VARCHAR NOT NULL,
  -- The paths of its files, as JSON.
  result_files VARCHAR NOT NULL,
  result_sha256 VARCHAR NOT NULL,
  result_bytes BIGINT NOT NULL,
  took_ms DOUBLE NOT NULL,
  -- "holds", or what does not.
  verification VARCHAR NOT NULL
);

-- Files that `fewbit models verify` has looked at, one row a file and look; the latest row of a path counts.
CREATE TABLE verifications (
  verified TIMESTAMPTZ NOT NULL,
  path VARCHAR NOT NULL,
  bytes BIGINT NOT NULL,
  -- Microseconds since 1970-01-01 UTC.
  modified_us BIGINT NOT NULL,
  sha256 VARCHAR NOT NULL,
  fewbit VARCHAR NOT NULL,
  holds BOOLEAN NOT NULL,
  -- "holds", or what does not.
  findings VARCHAR NOT NULL
);
