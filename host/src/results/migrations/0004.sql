-- A machine, as far as it tells.
CREATE TABLE platforms (
  platform_id UUID PRIMARY KEY,
  machine VARCHAR,
  os VARCHAR,
  cpu VARCHAR,
  cores INTEGER,
  memory BIGINT
);

-- A browser as its WebDriver session named it.
CREATE TABLE browsers (
  browser_id UUID PRIMARY KEY,
  name VARCHAR NOT NULL,
  version VARCHAR NOT NULL,
  driver VARCHAR,
  user_agent VARCHAR
);

-- A GPU, or what stands in for one.
CREATE TABLE adapters (
  adapter_id UUID PRIMARY KEY,
  name VARCHAR NOT NULL,
  vendor VARCHAR,
  driver VARCHAR,
  -- Whether it computes on the CPU; NULL where that is unknown.
  software BOOLEAN,
  fingerprint VARCHAR
);

-- A model as its files were.
CREATE TABLE models (
  model_id UUID PRIMARY KEY,
  name VARCHAR NOT NULL,
  architecture VARCHAR,
  block_format VARCHAR,
  bits_per_weight DOUBLE,
  parameters BIGINT,
  -- Of the sums of its files; NULL where nobody made them.
  sha256 VARCHAR
);

-- One call of a command that measures or compares, or one file that was imported.
CREATE TABLE runs (
  run VARCHAR PRIMARY KEY,
  started TIMESTAMPTZ NOT NULL,
  command VARCHAR NOT NULL,
  arguments VARCHAR[],
  fewbit VARCHAR NOT NULL,
  commit_id VARCHAR,
  platform_id UUID NOT NULL REFERENCES platforms (platform_id)
);

-- What was to be measured in a cell of a run, declared before it began.
CREATE TABLE designs (
  run VARCHAR NOT NULL REFERENCES runs (run),
  cell VARCHAR NOT NULL,
  declared TIMESTAMPTZ NOT NULL,
  -- "fixed": so many processes. "sequential": until "rule" says stop.
  kind VARCHAR NOT NULL,
  processes INTEGER NOT NULL,
  repeats INTEGER NOT NULL,
  warm_up INTEGER NOT NULL,
  rule VARCHAR NOT NULL
);

-- Why a cell of a run is done; without a row, the run was stopped before it was.
CREATE TABLE conclusions (
  run VARCHAR NOT NULL REFERENCES runs (run),
  cell VARCHAR NOT NULL,
  finished TIMESTAMPTZ NOT NULL,
  stop_reason VARCHAR NOT NULL,
  -- "expected", "unexpected", or NULL where nothing was expected.
  expectation VARCHAR
);

-- One process that ran, or tried to run, one model and task on one target.
CREATE TABLE attempts (
  attempt UUID PRIMARY KEY,
  run VARCHAR NOT NULL REFERENCES runs (run),
  -- MODEL/FORMAT/TASK/bBATCH/sSEQUENCE@TARGET: the same whenever and wherever it is measured.
  cell VARCHAR NOT NULL,
  started TIMESTAMPTZ NOT NULL,
  finished TIMESTAMPTZ,
  target VARCHAR NOT NULL,
  task VARCHAR NOT NULL,
  -- As asked for; "stored" leaves a model as its files have it.
  format VARCHAR NOT NULL,
  batch INTEGER NOT NULL,
  -- Tokens of a prompt or text; NULL where the task has none.
  sequence INTEGER,
  -- Which of the design's processes this is, from 1, and which try of it, from 1.
  process INTEGER NOT NULL,
  try INTEGER NOT NULL,
  -- Attempts of one block ran in turn, A-B-B-A; NULL where nothing was compared.
  block VARCHAR,
  outcome VARCHAR NOT NULL,
  validity VARCHAR,
  reason VARCHAR,
  model_id UUID NOT NULL REFERENCES models (model_id),
  browser_id UUID REFERENCES browsers (browser_id),
  adapter_id UUID REFERENCES adapters (adapter_id),
  features VARCHAR[],
  flags VARCHAR[],
  backend VARCHAR,
  variant VARCHAR,
  threads_asked INTEGER,
  threads INTEGER,
  activations VARCHAR,
  parity_max_abs DOUBLE,
  parity_max_rel DOUBLE,
  -- JSON: what this attempt depended on, by name. Where one of these is another today, the cell is stale.
  depends VARCHAR,
  -- The file it was imported from.
  source VARCHAR,
  -- Why a column of the view "results" is null, by its name; "*" is all of them. NULL in rows of version 1 and imported ones.
  absent MAP(VARCHAR, VARCHAR)
);

-- What was measured in an attempt; "samples" are the repeats in order, warm-up left out.
CREATE TABLE measurements (
  attempt UUID NOT NULL REFERENCES attempts (attempt),
  metric VARCHAR NOT NULL,
  unit VARCHAR NOT NULL,
  -- What one sample is of: "request", "token" or "process".
  observation VARCHAR NOT NULL,
  repeats INTEGER NOT NULL,
  p50 DOUBLE NOT NULL,
  p90 DOUBLE NOT NULL,
  -- From 100 samples on.
  p99 DOUBLE,
  mean DOUBLE NOT NULL,
  samples DOUBLE[] NOT NULL
);

-- How each output compared with its reference.
CREATE TABLE parity (
  attempt UUID NOT NULL REFERENCES attempts (attempt),
  tensor VARCHAR NOT NULL,
  compared BIGINT NOT NULL,
  max_abs DOUBLE,
  max_rel DOUBLE,
  atol DOUBLE,
  rtol DOUBLE,
  holds BOOLEAN NOT NULL,
  note VARCHAR
);

-- Bytes by kind: "wasm", "gpu", "peak_resident"; or why they are not known.
CREATE TABLE memory (
  attempt UUID NOT NULL REFERENCES attempts (attempt),
  kind VARCHAR NOT NULL,
  bytes BIGINT,
  reason VARCHAR
);

-- What a failed attempt left: "console", "host", "driver" messages, the path of a "screenshot".
CREATE TABLE evidence (
  attempt UUID NOT NULL REFERENCES attempts (attempt),
  kind VARCHAR NOT NULL,
  text VARCHAR NOT NULL
);

-- Batches of rows that arrived; the same key again changes nothing.
CREATE TABLE batches (
  batch VARCHAR PRIMARY KEY,
  received TIMESTAMPTZ NOT NULL,
  attempts INTEGER NOT NULL
);

-- Records of imported files that could not be read.
CREATE TABLE set_aside (
  imported TIMESTAMPTZ NOT NULL,
  source VARCHAR NOT NULL,
  -- Counted from 1 in the source.
  position BIGINT NOT NULL,
  reason VARCHAR NOT NULL,
  record VARCHAR NOT NULL
);

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

-- The newest state of each cell on each machine, over the attempts of the last run that touched it.
CREATE VIEW cells AS
WITH newest AS (
  -- What was measured here goes before what was imported.
  SELECT a.cell, r.platform_id, arg_max(a.run, (r.command <> 'import', a.started)) AS run
  FROM attempts a JOIN runs r ON r.run = a.run
  GROUP BY ALL
), states AS (
  SELECT
    n.cell, n.platform_id, n.run,
    arg_max({
      'attempt': a.attempt, 'outcome': a.outcome, 'reason': a.reason, 'validity': a.validity, 'model_id': a.model_id,
      'browser_id': a.browser_id, 'adapter_id': a.adapter_id, 'depends': a.depends, 'target': a.target, 'task': a.task,
      'format': a.format, 'batch': a.batch, 'sequence': a.sequence, 'parity_max_abs': a.parity_max_abs,
      'parity_max_rel': a.parity_max_rel
    }, a.started) AS last,
    count(DISTINCT a.outcome) AS outcomes,
    count(*) AS attempts,
    count(DISTINCT a.process) AS processes,
    min(a.started) AS started,
    max(coalesce(a.finished, a.started)) AS finished
  FROM newest n JOIN attempts a ON a.run = n.run AND a.cell = n.cell
  GROUP BY n.cell, n.platform_id, n.run
)
SELECT
  s.cell, m.name AS model, coalesce(m.architecture, n.architecture) AS architecture, s.last.target AS target, s.last.task AS task, s.last.format AS format,
  m.block_format, m.bits_per_weight, s.last.batch AS batch, s.last.sequence AS sequence,
  s.last.outcome AS outcome,
  CASE WHEN s.outcomes > 1 THEN 'flaky' WHEN s.attempts > 1 THEN 'stable' END AS stability,
  s.last.validity AS validity, s.last.reason AS reason,
  s.last.parity_max_abs AS parity_max_abs, s.last.parity_max_rel AS parity_max_rel,
  b.name AS browser_name, b.version AS browser_version, b.driver,
  d.name AS adapter, d.software AS adapter_software,
  s.attempts, s.processes, s.started, s.finished, c.stop_reason, c.expectation,
  p.machine, s.platform_id, s.run, s.last.attempt AS attempt, s.last.depends AS depends
FROM states s
JOIN models m ON m.model_id = s.last.model_id
-- Where a target did not load the model, what others said of it.
LEFT JOIN (SELECT name, any_value(architecture) AS architecture FROM models GROUP BY name) n ON n.name = m.name
JOIN platforms p ON p.platform_id = s.platform_id
LEFT JOIN browsers b ON b.browser_id = s.last.browser_id
LEFT JOIN adapters d ON d.adapter_id = s.last.adapter_id
LEFT JOIN conclusions c ON c.run = s.run AND c.cell = s.cell;

-- One line an attempt. METRIC is the median of the repeats, METRIC_p90 and METRIC_p99 the values that a share of 0.9 and
-- 0.99 of them does not exceed.
CREATE VIEW results AS
SELECT
  a.started, r.command, a.target, a.outcome, a.reason, a.validity, mo.name AS model, mo.architecture, a.format,
  mo.block_format, mo.bits_per_weight, a.task, a.batch, a.sequence,
  b.name AS browser_name, b.version AS browser_version, b.driver, d.name AS adapter, d.vendor AS adapter_vendor,
  d.driver AS adapter_driver, d.software AS adapter_software, d.fingerprint AS adapter_fingerprint,
  a.features, a.flags, a.backend, a.variant, a.threads, a.activations,
  m.repeats,
  m.prefill_tokens_per_second, m.prefill_tokens_per_second_p90, m.prefill_tokens_per_second_p99,
  m.decode_tokens_per_second, m.decode_tokens_per_second_p90, m.decode_tokens_per_second_p99,
  m.time_to_first_token_ms, m.time_to_first_token_ms_p90, m.time_to_first_token_ms_p99,
  m.embed_ms, m.embed_ms_p90, m.embed_ms_p99,
  m.transcribe_ms, m.real_time_factor, m.forward_ms,
  m.load_ms,
  m.compile_ms,
  m.first_run_ms,
  m.input_tokens,
  y.memory_wasm, y.memory_gpu, y.memory_peak_resident, a.parity_max_abs, a.parity_max_rel,
  r.fewbit, r.commit_id, p.machine, p.os, p.cpu, p.cores, a.absent, a.process, a.try, a.block, a.run, a.cell, a.attempt,
  a.source
FROM attempts a
JOIN runs r ON r.run = a.run
JOIN platforms p ON p.platform_id = r.platform_id
JOIN models mo ON mo.model_id = a.model_id
LEFT JOIN browsers b ON b.browser_id = a.browser_id
LEFT JOIN adapters d ON d.adapter_id = a.adapter_id
LEFT JOIN (
  SELECT
    attempt,
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
    max(p50) FILTER (metric = 'transcribe_ms') AS transcribe_ms,
    max(p50) FILTER (metric = 'real_time_factor') AS real_time_factor,
    max(p50) FILTER (metric = 'forward_ms') AS forward_ms,
    max(p50) FILTER (metric = 'load_ms') AS load_ms,
    max(p50) FILTER (metric = 'compile_ms') AS compile_ms,
    max(p50) FILTER (metric = 'first_run_ms') AS first_run_ms,
    max(p50) FILTER (metric = 'input_tokens') AS input_tokens,
    max(repeats) FILTER (observation = 'request') AS repeats
  FROM measurements GROUP BY attempt
) m ON m.attempt = a.attempt
LEFT JOIN (
  SELECT
    attempt,
    max(bytes) FILTER (kind = 'wasm') AS memory_wasm,
    max(bytes) FILTER (kind = 'gpu') AS memory_gpu,
    max(bytes) FILTER (kind = 'peak_resident') AS memory_peak_resident
  FROM memory GROUP BY attempt
) y ON y.attempt = a.attempt;

-- Every sample that was ever taken.
CREATE VIEW repeats AS
SELECT attempt, metric, unit, observation, unnest(range(1, len(samples) + 1)) AS repeat, unnest(samples) AS value
FROM measurements;

-- What the browsers on each adapter said they have.
CREATE VIEW web_features AS
SELECT DISTINCT b.name AS browser_name, b.version AS browser_version, d.name AS adapter, unnest(a.features) AS feature
FROM attempts a JOIN browsers b ON b.browser_id = a.browser_id LEFT JOIN adapters d ON d.adapter_id = a.adapter_id;

-- Where the time went before an attempt could run, in milliseconds; what a target does not tell apart is null. "runtime" is the
-- wasm module, "files" the download into the cache (a fresh profile has none), "build" parsing and upload.
CREATE VIEW cold_starts AS
SELECT
  attempt,
  max(p50) FILTER (metric = 'load_ms') AS load_ms,
  max(p50) FILTER (metric = 'runtime_ms') AS runtime_ms,
  max(p50) FILTER (metric = 'files_ms') AS files_ms,
  max(p50) FILTER (metric = 'build_ms') AS build_ms,
  max(p50) FILTER (metric = 'compile_ms') AS compile_ms,
  max(p50) FILTER (metric = 'first_run_ms') AS first_run_ms
FROM measurements GROUP BY attempt;
