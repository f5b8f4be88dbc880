-- Ids are made as `rows` makes them: the first 128 bits of a SHA-256 over the fields, each as its length, a colon and its text
-- ("-" where it is null).
CREATE TEMP MACRO field(x) AS CASE WHEN x IS NULL THEN '-' ELSE strlen(x::VARCHAR) || ':' || x::VARCHAR END;
CREATE TEMP MACRO id(text) AS CAST(substr(sha256(text), 1, 32) AS UUID);
CREATE TEMP MACRO platform(machine, os, cpu, cores, memory) AS
  id('platform' || field(machine) || field(os) || field(cpu) || field(cores) || field(memory));
CREATE TEMP MACRO browser(name, version, driver, user_agent) AS
  id('browser' || field(name) || field(version) || field(driver) || field(user_agent));
CREATE TEMP MACRO adapter(name, vendor, driver, software, fingerprint) AS
  id('adapter' || field(name) || field(vendor) || field(driver) || field(software) || field(fingerprint));
CREATE TEMP MACRO model(name, architecture, block_format, bits, parameters) AS
  id('model' || field(name) || field(architecture) || field(block_format) || field(bits) || field(parameters) || '-');

INSERT INTO platforms SELECT DISTINCT platform(machine, os, cpu, cores, memory), machine, os, cpu, cores, memory FROM old.runs;
INSERT INTO browsers
SELECT DISTINCT browser(browser_name, browser_version, driver, user_agent), browser_name, browser_version, driver, user_agent
FROM old.cells WHERE browser_name IS NOT NULL;
INSERT INTO adapters
SELECT DISTINCT adapter(adapter, adapter_vendor, adapter_driver, adapter_software, adapter_fingerprint),
  adapter, adapter_vendor, adapter_driver, adapter_software, adapter_fingerprint
FROM old.cells WHERE adapter IS NOT NULL;
INSERT INTO models
SELECT DISTINCT model(model, architecture, block_format, bits_per_weight, parameters), model, architecture, block_format,
  bits_per_weight, parameters, NULL
FROM old.cells;
INSERT INTO runs
SELECT run, started, command, arguments, fewbit, commit_id, platform(machine, os, cpu, cores, memory) FROM old.runs;
INSERT INTO attempts
SELECT id('cell' || field(cell)), run, model || '/stored/' || task || '/b1@' || target, started, NULL, target, task, 'stored', 1,
  NULL, 1, 1, NULL, outcome, validity, reason, model(model, architecture, block_format, bits_per_weight, parameters),
  CASE WHEN browser_name IS NOT NULL THEN browser(browser_name, browser_version, driver, user_agent) END,
  CASE WHEN adapter IS NOT NULL
    THEN adapter(adapter, adapter_vendor, adapter_driver, adapter_software, adapter_fingerprint) END,
  features, flags, backend, variant, threads_asked, threads, activations, parity_max_abs, parity_max_rel, NULL, NULL, absent
FROM old.cells;
INSERT INTO measurements
SELECT id('cell' || field(cell)), metric, unit,
  CASE WHEN metric IN ('load_ms', 'compile_ms', 'first_run_ms') THEN 'process' ELSE 'request' END,
  repeats, p50, p90, CASE WHEN repeats >= 100 THEN p99 END, mean, samples
FROM old.measurements;
INSERT INTO parity
SELECT id('cell' || field(cell)), tensor, compared, max_abs, max_rel, atol, rtol, holds, note FROM old.tensors;
INSERT INTO memory
SELECT id('cell' || field(cell)), 'wasm', memory_wasm, absent['memory_wasm'] FROM old.cells
UNION ALL SELECT id('cell' || field(cell)), 'gpu', memory_gpu, absent['memory_gpu'] FROM old.cells
UNION ALL SELECT id('cell' || field(cell)), 'peak_resident', memory_peak_resident, absent['memory_peak_resident']
  FROM old.cells;
INSERT INTO conversions SELECT * FROM old.conversions;
INSERT INTO verifications SELECT * FROM old.verifications;
