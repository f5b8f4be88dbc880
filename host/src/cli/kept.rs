//! Where a measuring command's rows go, and what may be measured.

#[cfg(feature = "results")]
use anyhow::Context;

use crate::results::record::Attempt;
use crate::store::ModelFiles;
#[cfg(feature = "results")]
use crate::store::Store;

/// Where rows go: the results of this process, which others reach through it meanwhile, or of the process that has them.
#[cfg(feature = "results")]
pub(super) struct Kept {
    results: Option<std::sync::Arc<crate::results::Results>>,
    _serving: Option<(crate::results::Announcement, crate::serve::Running)>,
}

#[cfg(feature = "results")]
impl Kept {
    pub(super) async fn open(no_results: bool) -> anyhow::Result<Kept> {
        use crate::results::{Announcement, Results, default_path};
        if no_results {
            return Ok(Kept {
                results: None,
                _serving: None,
            });
        }
        let path = default_path()?;
        let results = tokio::task::spawn_blocking(move || Results::open(&path))
            .await?
            .context("the results")?;
        let serving = match results.own() {
            Some(database) => {
                let mut config = crate::serve::Config::new(Store::open()?);
                config.queries = Some(database.clone());
                let running = crate::serve::start(config).await?;
                Some((Announcement::new(&database, &running)?, running))
            }
            None => None,
        };
        Ok(Kept {
            results: Some(std::sync::Arc::new(results)),
            _serving: serving,
        })
    }

    /// The results, wherever they are; nothing where none are kept.
    #[cfg_attr(not(all(feature = "native", feature = "webdriver")), allow(dead_code))]
    pub(super) fn results(&self) -> Option<std::sync::Arc<crate::results::Results>> {
        self.results.clone()
    }

    /// Refuses a model whose files nobody has looked at, or that have changed since.
    #[cfg(feature = "native")]
    pub(super) async fn require_verified(
        &self,
        files: &ModelFiles,
        model: &str,
    ) -> anyhow::Result<()> {
        use crate::results::{Results, default_path};
        let (files, model) = (files.clone(), model.to_owned());
        let kept = self.results.clone();
        let path = default_path()?;
        tokio::task::spawn_blocking(move || match kept {
            Some(results) => crate::verified::require(&files, &results, &model),
            // No rows are kept, but what was verified is known all the same.
            None => crate::verified::require(&files, &Results::open(&path)?, &model),
        })
        .await?
    }

    #[cfg(not(feature = "native"))]
    pub(super) async fn require_verified(
        &self,
        files: &ModelFiles,
        model: &str,
    ) -> anyhow::Result<()> {
        crate::verified::require(files, model)
    }

    pub(super) async fn append(&self, run: &crate::results::record::Run, attempt: Attempt) {
        let Some(results) = self.results.clone() else {
            return;
        };
        let record = crate::results::record::Record {
            attempts: vec![attempt],
            ..crate::results::record::Record::new(run)
        };
        match tokio::task::spawn_blocking(move || results.append(&record)).await {
            Ok(Ok(())) => {}
            Ok(Err(e)) => eprintln!("fewbit: the rows are not kept: {e}"),
            Err(e) => eprintln!("fewbit: the rows are not kept: {e}"),
        }
    }
}

#[cfg(not(feature = "results"))]
pub(super) struct Kept;

#[cfg(not(feature = "results"))]
impl Kept {
    pub(super) async fn open(no_results: bool) -> anyhow::Result<Kept> {
        if !no_results {
            anyhow::bail!("this build keeps no results (feature `results`); add --no-results");
        }
        Ok(Kept)
    }

    pub(super) async fn require_verified(
        &self,
        files: &ModelFiles,
        model: &str,
    ) -> anyhow::Result<()> {
        crate::verified::require(files, model)
    }

    pub(super) async fn append(&self, _: &crate::results::record::Run, _: Attempt) {}
}
