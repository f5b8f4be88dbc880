//! When a cell has processes enough: after a fixed number, or once an interval is narrow.

use super::cell::Task;
use super::settings::Profile;
use crate::job::Outcome;
use crate::report::bootstrap::{Process, half_width};
use crate::results::record::Attempt;

/// Fewer processes tell too little of how much they differ to stop by it.
const LEAST: u32 = 3;
/// A sequential design ends after so many processes, however wide the interval is.
const MOST: u32 = 20;

/// Declared before a cell is measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Design {
    /// So many processes.
    Fixed(u32),
    /// Processes until the interval of the task's main number lies within this share of it, at least so many.
    Sequential { within: f64, least: u32 },
}

/// What comes after an attempt.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// The cell is done, and why.
    Stop(String),
    /// The same once more in a fresh process: what fails twice is failing, what does not is flaky.
    Again,
    Process,
}

impl Design {
    /// By a profile; `within` makes it sequential, where something is timed.
    pub fn new(profile: &Profile, task: Task, within: Option<f64>) -> Design {
        let processes = profile.processes.max(1);
        match (task.main_metric(), within) {
            (None, _) => Design::Fixed(1),
            (Some(_), None) => Design::Fixed(processes),
            (Some(_), Some(within)) => Design::Sequential {
                within,
                least: processes.max(LEAST),
            },
        }
    }

    pub const fn kind(self) -> &'static str {
        match self {
            Design::Fixed(_) => "fixed",
            Design::Sequential { .. } => "sequential",
        }
    }

    /// The least number of processes.
    pub const fn processes(self) -> u32 {
        match self {
            Design::Fixed(processes) => processes,
            Design::Sequential { least, .. } => least,
        }
    }

    /// The rule in words, as it is kept before anything is measured.
    pub fn rule(self, profile: &Profile, task: Task) -> String {
        let until = match self {
            Design::Fixed(processes) => format!("{processes} processes"),
            Design::Sequential { within, least } => format!(
                "from {least} to {MOST} processes, until the 95 % interval of {} (hierarchical bootstrap) lies within {} % of it;",
                task.main_metric().unwrap_or_default(),
                within * 1e2
            ),
        };
        format!(
            "{until} of {} repeats after {} of warm-up; no repeat begins later than {} s after the first; an error \
             is tried once more in a fresh process, and so is an attempt that was disturbed; a first run that takes longer \
             than {} s is warm-up enough, and no process begins later than {} s after the first",
            profile.repeats,
            profile.warm_up,
            profile.seconds,
            profile.seconds,
            profile.cell_seconds
        )
    }

    /// What comes after `attempt`; `timed` has the main number's repeats of each process so far. Where it is `late`, no more
    /// processes begin.
    pub(super) fn next(self, attempt: &Attempt, timed: &[Process], late: bool) -> Next {
        let first = attempt.r#try == 1;
        match attempt.outcome {
            Outcome::Error | Outcome::Mismatch if first => Next::Again,
            Outcome::Pass if attempt.validity.as_deref() == Some("disturbed") && first && !late => {
                Next::Again
            }
            Outcome::Pass => match self.after(attempt.process, timed) {
                Next::Process if late => Next::Stop(format!(
                    "{} of {} processes: the time for a cell is over",
                    attempt.process,
                    self.processes()
                )),
                next => next,
            },
            outcome => Next::Stop(outcome.name().into()),
        }
    }

    fn after(self, process: u32, timed: &[Process]) -> Next {
        match self {
            Design::Fixed(processes) if process < processes => Next::Process,
            Design::Fixed(processes) => Next::Stop(format!("{process} of {processes} processes")),
            Design::Sequential { least, .. } if process < least => Next::Process,
            Design::Sequential { within, .. } => {
                let width = half_width(timed);
                let told = width.map_or("of unknown width".into(), |w| {
                    format!("within {:.1} %", w * 1e2)
                });
                match width {
                    Some(width) if width <= within => {
                        Next::Stop(format!("after {process} processes the interval is {told}"))
                    }
                    _ if process >= MOST => Next::Stop(format!(
                        "{MOST} of at most {MOST} processes; the interval is {told}"
                    )),
                    _ => Next::Process,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(outcome: Outcome, validity: Option<&str>, process: u32, r#try: u32) -> Attempt {
        Attempt {
            outcome,
            validity: validity.map(str::to_owned),
            process,
            r#try,
            ..Attempt::begin("native:cpu", "m", "generate")
        }
    }

    #[test]
    fn what_comes_next() {
        let of = |outcome, validity: Option<&str>, process, r#try| {
            Design::Fixed(2).next(&attempt(outcome, validity, process, r#try), &[], false)
        };
        use Outcome::*;
        assert_eq!(of(Pass, Some("valid"), 1, 1), Next::Process);
        assert_eq!(
            of(Pass, Some("valid"), 2, 1),
            Next::Stop("2 of 2 processes".into())
        );
        assert_eq!(of(Pass, Some("disturbed"), 2, 1), Next::Again);
        assert_eq!(
            of(Pass, Some("disturbed"), 2, 2),
            Next::Stop("2 of 2 processes".into())
        );
        assert_eq!(of(Error, None, 1, 1), Next::Again);
        assert_eq!(of(Error, None, 1, 2), Next::Stop("error".into()));
        assert_eq!(of(Mismatch, None, 1, 1), Next::Again);
        assert_eq!(
            of(Unsupported, None, 1, 1),
            Next::Stop("unsupported".into())
        );
        assert_eq!(
            of(Unavailable, None, 1, 1),
            Next::Stop("unavailable".into())
        );
    }

    #[test]
    fn a_slow_cell_has_fewer_processes() {
        let late = |outcome, validity, process| {
            Design::Fixed(3).next(&attempt(outcome, Some(validity), process, 1), &[], true)
        };
        let why = "1 of 3 processes: the time for a cell is over";
        assert_eq!(late(Outcome::Pass, "valid", 1), Next::Stop(why.into()));
        assert_eq!(late(Outcome::Pass, "disturbed", 1), Next::Stop(why.into()));
        assert_eq!(
            late(Outcome::Pass, "valid", 3),
            Next::Stop("3 of 3 processes".into())
        );
        assert_eq!(late(Outcome::Error, "valid", 1), Next::Again);
    }

    #[test]
    fn a_sequential_design_stops_by_its_interval() {
        let design = Design::Sequential {
            within: 0.05,
            least: 3,
        };
        let of = |process: u32, timed: &[Process]| {
            design.next(
                &attempt(Outcome::Pass, Some("valid"), process, 1),
                timed,
                false,
            )
        };
        let near: Vec<Process> = vec![vec![10.0, 10.1], vec![10.1, 10.0], vec![9.9, 10.0]];
        let apart: Vec<Process> = vec![vec![10.0], vec![20.0], vec![5.0]];
        assert_eq!(of(2, &near[..2]), Next::Process);
        let Next::Stop(why) = of(3, &near) else {
            panic!("goes on")
        };
        assert!(
            why.starts_with("after 3 processes the interval is within"),
            "{why}"
        );
        assert_eq!(of(3, &apart), Next::Process);
        let Next::Stop(why) = of(20, &apart) else {
            panic!("goes on")
        };
        assert!(why.starts_with("20 of at most 20"), "{why}");
    }
}
