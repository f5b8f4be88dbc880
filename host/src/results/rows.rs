//! Writing a record: its attempts go into temporary tables by DuckDB's appender, and from there, those that are new, into the
//! tables. That is one way for one attempt and for a million, and far quicker than `ON CONFLICT` on tables with keys.

use duckdb::{Appender, Connection, ToSql, Transaction, params};
use sha2::{Digest, Sha256};

use super::absent::absent;
use super::record::{Attempt, Record, Run, now_us, uuid};
use crate::job::{AdapterInfo, BrowserFacts, ModelFacts};

/// Writes a record's rows, all or none.
pub(super) fn write(connection: &mut Connection, record: &Record) -> duckdb::Result<()> {
    let transaction = connection.transaction()?;
    let batch = transaction.execute(
        "INSERT INTO batches SELECT ?1, make_timestamptz(?2), ?3
         WHERE NOT EXISTS (SELECT 1 FROM batches WHERE batch = ?1)",
        params![record.batch, now_us(), record.attempts.len() as i64],
    )?;
    if batch == 0 {
        return Ok(());
    }
    insert_run(&transaction, &record.run)?;
    if !record.attempts.is_empty() {
        transaction.execute_batch(STAGES)?;
        stage(&transaction, record)?;
        transaction.execute_batch(TAKE)?;
    }
    for design in &record.designs {
        transaction.execute(
            "INSERT INTO designs SELECT ?, ?, make_timestamptz(?), ?, ?, ?, ?, ?",
            params![
                record.run.run,
                design.cell,
                design.declared_us,
                design.kind,
                design.processes,
                design.repeats,
                design.warm_up,
                design.rule
            ],
        )?;
    }
    for conclusion in &record.conclusions {
        transaction.execute(
            "INSERT INTO conclusions SELECT ?, ?, make_timestamptz(?), ?, ?",
            params![
                record.run.run,
                conclusion.cell,
                conclusion.finished_us,
                conclusion.stop_reason,
                conclusion.expectation
            ],
        )?;
    }
    for aside in &record.set_aside {
        transaction.execute(
            "INSERT INTO set_aside SELECT make_timestamptz(?), ?, ?, ?, ?",
            params![
                record.run.started_us,
                aside.source,
                i64::try_from(aside.position).unwrap_or(i64::MAX),
                aside.reason,
                aside.record
            ],
        )?;
    }
    transaction.commit()
}

/// Temporary: they live in memory and end with the transaction or the connection.
const STAGES: &str = "
CREATE OR REPLACE TEMP TABLE stage_attempts (
  attempt VARCHAR, run VARCHAR, cell VARCHAR, started BIGINT, finished BIGINT, target VARCHAR, task VARCHAR, format VARCHAR,
  batch BIGINT, sequence BIGINT, process BIGINT, try BIGINT, block VARCHAR, outcome VARCHAR, validity VARCHAR, reason VARCHAR,
  model_id VARCHAR, browser_id VARCHAR, adapter_id VARCHAR, features VARCHAR, flags VARCHAR, backend VARCHAR,
  variant VARCHAR, threads_asked BIGINT, threads BIGINT, activations VARCHAR, parity_max_abs DOUBLE, parity_max_rel DOUBLE,
  depends VARCHAR, source VARCHAR, absent VARCHAR);
CREATE OR REPLACE TEMP TABLE stage_models (
  model_id VARCHAR, name VARCHAR, architecture VARCHAR, block_format VARCHAR, bits_per_weight DOUBLE, parameters BIGINT,
  sha256 VARCHAR);
CREATE OR REPLACE TEMP TABLE stage_browsers (
  browser_id VARCHAR, name VARCHAR, version VARCHAR, driver VARCHAR, user_agent VARCHAR);
CREATE OR REPLACE TEMP TABLE stage_adapters (
  adapter_id VARCHAR, name VARCHAR, vendor VARCHAR, driver VARCHAR, software BOOLEAN, fingerprint VARCHAR);
CREATE OR REPLACE TEMP TABLE stage_measurements (
  attempt VARCHAR, metric VARCHAR, unit VARCHAR, observation VARCHAR, repeats BIGINT, p50 DOUBLE, p90 DOUBLE, p99 DOUBLE,
  mean DOUBLE, samples VARCHAR);
CREATE OR REPLACE TEMP TABLE stage_parity (
  attempt VARCHAR, tensor VARCHAR, compared BIGINT, max_abs DOUBLE, max_rel DOUBLE, atol DOUBLE, rtol DOUBLE, holds BOOLEAN,
  note VARCHAR);
CREATE OR REPLACE TEMP TABLE stage_memory (attempt VARCHAR, kind VARCHAR, bytes BIGINT, reason VARCHAR);
CREATE OR REPLACE TEMP TABLE stage_evidence (attempt VARCHAR, kind VARCHAR, text VARCHAR);
";

/// What is new among the staged rows, into the tables. An attempt that a record has twice is taken once.
const TAKE: &str = "
CREATE OR REPLACE TEMP TABLE stage_new AS
SELECT DISTINCT CAST(attempt AS UUID) AS attempt FROM stage_attempts
WHERE CAST(attempt AS UUID) NOT IN (SELECT attempt FROM attempts);
INSERT INTO models
SELECT DISTINCT ON (model_id) * FROM stage_models
WHERE CAST(model_id AS UUID) NOT IN (SELECT model_id FROM models);
INSERT INTO browsers
SELECT DISTINCT ON (browser_id) * FROM stage_browsers
WHERE CAST(browser_id AS UUID) NOT IN (SELECT browser_id FROM browsers);
INSERT INTO adapters
SELECT DISTINCT ON (adapter_id) * FROM stage_adapters
WHERE CAST(adapter_id AS UUID) NOT IN (SELECT adapter_id FROM adapters);
INSERT INTO attempts
SELECT DISTINCT ON (s.attempt) * REPLACE (
  make_timestamptz(started) AS started, make_timestamptz(finished) AS finished,
  CAST(CAST(features AS JSON) AS VARCHAR[]) AS features, CAST(CAST(flags AS JSON) AS VARCHAR[]) AS flags,
  CAST(CAST(absent AS JSON) AS MAP(VARCHAR, VARCHAR)) AS absent)
FROM stage_attempts s WHERE CAST(s.attempt AS UUID) IN (SELECT attempt FROM stage_new);
INSERT INTO measurements
SELECT * REPLACE (CASE WHEN repeats = 1 THEN [p50] ELSE CAST(CAST(samples AS JSON) AS DOUBLE[]) END AS samples)
FROM stage_measurements
WHERE CAST(attempt AS UUID) IN (SELECT attempt FROM stage_new);
INSERT INTO parity SELECT * FROM stage_parity WHERE CAST(attempt AS UUID) IN (SELECT attempt FROM stage_new);
INSERT INTO memory SELECT * FROM stage_memory WHERE CAST(attempt AS UUID) IN (SELECT attempt FROM stage_new);
INSERT INTO evidence SELECT * FROM stage_evidence WHERE CAST(attempt AS UUID) IN (SELECT attempt FROM stage_new);
DROP TABLE stage_attempts; DROP TABLE stage_models; DROP TABLE stage_browsers; DROP TABLE stage_adapters;
DROP TABLE stage_measurements; DROP TABLE stage_parity; DROP TABLE stage_memory; DROP TABLE stage_evidence;
DROP TABLE stage_new;
";

/// The appenders of one record.
struct Stages<'a> {
    attempts: Appender<'a>,
    models: Appender<'a>,
    browsers: Appender<'a>,
    adapters: Appender<'a>,
    measurements: Appender<'a>,
    parity: Appender<'a>,
    memory: Appender<'a>,
    evidence: Appender<'a>,
}

fn stage(transaction: &Transaction<'_>, record: &Record) -> duckdb::Result<()> {
    let appender = |table: &str| transaction.appender_to_catalog_and_db(table, "temp", "main");
    let mut stages = Stages {
        attempts: appender("stage_attempts")?,
        models: appender("stage_models")?,
        browsers: appender("stage_browsers")?,
        adapters: appender("stage_adapters")?,
        measurements: appender("stage_measurements")?,
        parity: appender("stage_parity")?,
        memory: appender("stage_memory")?,
        evidence: appender("stage_evidence")?,
    };
    for attempt in &record.attempts {
        stages.take(&record.run.run, attempt)?;
    }
    stages.attempts.flush()?;
    stages.models.flush()?;
    stages.browsers.flush()?;
    stages.adapters.flush()?;
    stages.measurements.flush()?;
    stages.parity.flush()?;
    stages.memory.flush()?;
    stages.evidence.flush()
}

impl Stages<'_> {
    fn take(&mut self, run: &str, attempt: &Attempt) -> duckdb::Result<()> {
        let info = attempt.info.clone().unwrap_or_default();
        let model_id = self.model(attempt, &info.model.clone().unwrap_or_default())?;
        let browser_id = info.browser.as_ref().map(|b| self.browser(b)).transpose()?;
        let adapter_id = info.adapter.as_ref().map(|a| self.adapter(a)).transpose()?;
        let size = |n: Option<usize>| n.and_then(|n| i64::try_from(n).ok());
        let absent = absent(attempt);
        let row: [&dyn ToSql; 31] = [
            &attempt.attempt,
            &run,
            &attempt.cell(),
            &attempt.started_us,
            &attempt.finished_us,
            &attempt.target,
            &attempt.task,
            &attempt.format,
            &attempt.batch,
            &attempt.sequence,
            &attempt.process,
            &attempt.r#try,
            &attempt.block,
            &attempt.outcome.name(),
            &attempt.validity,
            &attempt.reason,
            &model_id,
            &browser_id,
            &adapter_id,
            &(!info.features.is_empty()).then(|| json(&info.features)),
            &(!info.flags.is_empty()).then(|| json(&info.flags)),
            &(!info.backend.is_empty()).then_some(&info.backend),
            &info.variant,
            &size(info.threads_asked),
            &size(info.threads),
            &info.activations,
            &attempt.parity_max_abs,
            &attempt.parity_max_rel,
            &(!attempt.depends.is_empty()).then(|| json(&attempt.depends)),
            &attempt.source,
            &attempt.source.is_none().then(|| json(&absent)),
        ];
        self.attempts.append_row(row)?;
        self.measurements(attempt)?;
        for tensor in &attempt.tensors {
            self.parity.append_row(params![
                attempt.attempt,
                tensor.tensor,
                i64::try_from(tensor.compared).unwrap_or(i64::MAX),
                tensor.max_abs,
                tensor.max_rel,
                tensor.atol,
                tensor.rtol,
                tensor.holds,
                tensor.note,
            ])?;
        }
        if attempt.info.is_some() {
            for (kind, bytes) in [
                ("wasm", info.memory.wasm),
                ("gpu", info.memory.gpu),
                ("peak_resident", info.memory.peak_resident),
            ] {
                let bytes = bytes.and_then(|n| i64::try_from(n).ok());
                if bytes.is_none() && attempt.source.is_some() {
                    continue;
                }
                let why = absent.get(format!("memory_{kind}").as_str());
                let why = why.filter(|_| bytes.is_none()).copied();
                self.memory
                    .append_row(params![attempt.attempt, kind, bytes, why])?;
            }
        }
        for evidence in &attempt.evidence {
            self.evidence
                .append_row(params![attempt.attempt, evidence.kind, evidence.text])?;
        }
        Ok(())
    }

    fn measurements(&mut self, attempt: &Attempt) -> duckdb::Result<()> {
        for m in &attempt.measurements {
            let (Some(p50), Some(p90), Some(mean)) = (m.quantile(0.5), m.quantile(0.9), m.mean())
            else {
                continue;
            };
            self.measurements.append_row(params![
                attempt.attempt,
                m.metric,
                m.unit,
                m.observation,
                m.samples.len() as i64,
                p50,
                p90,
                m.p99(),
                mean,
                json(&m.samples),
            ])?;
        }
        Ok(())
    }

    fn model(&mut self, attempt: &Attempt, facts: &ModelFacts) -> duckdb::Result<String> {
        let architecture = (!facts.architecture.is_empty()).then_some(&facts.architecture);
        let parameters = facts.parameters.and_then(|n| i64::try_from(n).ok());
        let id = id(
            "model",
            &[
                Some(attempt.model.clone()),
                architecture.cloned(),
                facts.block_format.clone(),
                facts.bits_per_weight.map(|b| format!("{b:?}")),
                parameters.map(|n| n.to_string()),
                attempt.model_sha256.clone(),
            ],
        );
        self.models.append_row(params![
            id,
            attempt.model,
            architecture,
            facts.block_format,
            facts.bits_per_weight,
            parameters,
            attempt.model_sha256,
        ])?;
        Ok(id)
    }

    fn browser(&mut self, facts: &BrowserFacts) -> duckdb::Result<String> {
        let id = id(
            "browser",
            &[
                Some(facts.name.clone()),
                Some(facts.version.clone()),
                facts.driver.clone(),
                facts.user_agent.clone(),
            ],
        );
        self.browsers.append_row(params![
            id,
            facts.name,
            facts.version,
            facts.driver,
            facts.user_agent
        ])?;
        Ok(id)
    }

    fn adapter(&mut self, info: &AdapterInfo) -> duckdb::Result<String> {
        let id = id(
            "adapter",
            &[
                Some(info.name.clone()),
                info.vendor.clone(),
                info.driver.clone(),
                info.software.map(|s| s.to_string()),
                info.fingerprint.clone(),
            ],
        );
        self.adapters.append_row(params![
            id,
            info.name,
            info.vendor,
            info.driver,
            info.software,
            info.fingerprint
        ])?;
        Ok(id)
    }
}

fn insert_run(connection: &Connection, run: &Run) -> duckdb::Result<()> {
    let number = |n: Option<i64>| n.map(|n| n.to_string());
    let platform = id(
        "platform",
        &[
            run.machine.clone(),
            run.os.clone(),
            run.cpu.clone(),
            number(run.cores),
            number(run.memory),
        ],
    );
    connection.execute(
        "INSERT INTO platforms SELECT CAST(?1 AS UUID), ?2, ?3, ?4, ?5, ?6
         WHERE NOT EXISTS (SELECT 1 FROM platforms WHERE platform_id = CAST(?1 AS UUID))",
        params![
            platform,
            run.machine,
            run.os,
            run.cpu,
            run.cores,
            run.memory
        ],
    )?;
    connection.execute(
        "INSERT INTO runs
         SELECT ?1, make_timestamptz(?2), ?3, CAST(CAST(?4 AS JSON) AS VARCHAR[]), ?5, ?6, CAST(?7 AS UUID)
         WHERE NOT EXISTS (SELECT 1 FROM runs WHERE run = ?1)",
        params![
            run.run,
            run.started_us,
            run.command,
            json(&run.arguments),
            run.fewbit,
            run.commit_id,
            platform,
        ],
    )?;
    Ok(())
}

/// The same fields have the same id, whoever measured: the first 128 bits of a SHA-256 over them, each as its length in
/// bytes, a colon and its text, or `-`.
fn id(kind: &str, fields: &[Option<String>]) -> String {
    let mut hash = Sha256::new();
    hash.update(kind);
    for field in fields {
        match field {
            Some(text) => hash.update(format!("{}:{text}", text.len())),
            None => hash.update("-"),
        }
    }
    let sum = hash.finalize();
    let mut bits = [0; 16];
    bits.copy_from_slice(&sum[..16]);
    uuid(u128::from_be_bytes(bits))
}

/// Lists and maps go through columns of text.
fn json<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_else(|_| "null".into())
}
