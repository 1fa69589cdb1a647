//! Who is next, and when. Pure.
//!
//! Higher priority first. Of equal ones, the project that has the least under way; then the one whose last turn is
//! longest ago; then who came first. The next one waits until it fits: nothing smaller is let past it, so that a big
//! build comes to its turn as well.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, VecDeque};

use super::build::{Moment, Need};

/// A build that waits. Those that came first have the lower numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Waiting {
    pub(super) number: i64,
    pub(super) project: String,
    pub(super) priority: i32,
    pub(super) need: Need,
}

/// A build that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Under {
    pub(super) project: String,
    pub(super) need: Need,
    pub(super) since: Moment,
}

/// How much a project has, and when it had its last turn.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Share {
    millicpus: u64,
    last_turn: i64,
}

/// The order in which builds begin, if nothing else comes in between; `last_turns` says when each project last had
/// a build begun. At most `limit` of them.
pub(super) fn order(
    waiting: Vec<Waiting>,
    running: &[Under],
    last_turns: &HashMap<String, i64>,
    limit: usize,
) -> Vec<Waiting> {
    let mut queues: BTreeMap<String, VecDeque<Waiting>> = BTreeMap::new();
    let mut waiting = waiting;
    waiting.sort_by_key(|build| (Reverse(build.priority), build.number));
    let mut turn = last_turns.values().copied().max().unwrap_or(0);
    for build in waiting {
        queues.entry(build.project.clone()).or_default().push_back(build);
    }
    let mut shares: HashMap<String, Share> = queues
        .keys()
        .map(|project| {
            let millicpus =
                running.iter().filter(|build| build.project == *project).map(|build| build.need.millicpus);
            let last_turn = last_turns.get(project).copied().unwrap_or(i64::MIN);
            (project.clone(), Share { millicpus: millicpus.map(u64::from).sum(), last_turn })
        })
        .collect();
    let mut order = Vec::new();
    while order.len() < limit {
        let heads = queues.iter().filter_map(|(project, queue)| Some((project, queue.front()?)));
        let next = heads.min_by_key(|(project, head)| {
            (Reverse(head.priority), shares.get(*project).copied().unwrap_or_default(), head.number)
        });
        let Some(project) = next.map(|(project, _)| project.clone()) else { break };
        let Some(build) = queues.get_mut(&project).and_then(VecDeque::pop_front) else { break };
        turn += 1;
        let share = shares.entry(project).or_default();
        share.millicpus += u64::from(build.need.millicpus);
        share.last_turn = turn;
        order.push(build);
    }
    order
}

/// When each of `waiting`, in this order, can be expected to begin, if builds take as long as `typical` says: in
/// milliseconds per project, `None` where nothing is known. Whoever waits behind such a one is not known either.
pub(super) fn starts(
    waiting: &[Waiting],
    running: &[Under],
    budget: Need,
    now: Moment,
    typical: impl Fn(&str) -> Option<i64>,
) -> Vec<Option<Moment>> {
    let mut used = running.iter().fold(Need::NONE, |used, build| used.plus(build.need));
    let mut ends = BinaryHeap::new();
    let mut is_known = true;
    for (index, build) in running.iter().enumerate() {
        match typical(&build.project) {
            Some(time) => ends.push(Reverse((
                now.0.max(build.since.0 + time),
                index,
                build.need.millicpus,
                build.need.memory,
            ))),
            None => is_known = false,
        }
    }
    let mut at = now.0;
    let mut starts = Vec::with_capacity(waiting.len());
    for (index, build) in waiting.iter().enumerate() {
        while !budget.leaves(used, build.need) {
            let Some(Reverse((end, _, millicpus, memory))) = ends.pop() else {
                is_known = false;
                break;
            };
            at = at.max(end);
            used = used.minus(Need { millicpus, memory });
        }
        starts.push(is_known.then_some(Moment(at)));
        used = used.plus(build.need);
        match typical(&build.project) {
            Some(time) => ends.push(Reverse((
                at + time,
                running.len() + index,
                build.need.millicpus,
                build.need.memory,
            ))),
            None => is_known = false,
        }
    }
    starts
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Need = Need { millicpus: 1000, memory: 1 };

    fn waiting(builds: &[(&str, i32)]) -> Vec<Waiting> {
        let numbered = (0_i64..).zip(builds);
        numbered
            .map(|(number, (project, priority))| Waiting {
                number,
                project: (*project).to_owned(),
                priority: *priority,
                need: ONE,
            })
            .collect()
    }

    fn numbers(builds: &[Waiting]) -> Vec<i64> {
        builds.iter().map(|build| build.number).collect()
    }

    #[test]
    fn projects_take_turns() {
        let builds = waiting(&[("a", 0), ("a", 0), ("a", 0), ("b", 0), ("b", 0), ("c", 0)]);
        let order = |running: &[Under], last: &[(&str, i64)]| {
            let last = last.iter().map(|(project, turn)| ((*project).to_owned(), *turn)).collect();
            numbers(&order(builds.clone(), running, &last, usize::MAX))
        };
        assert_eq!(order(&[], &[]), [0, 3, 5, 1, 4, 2]);
        assert_eq!(order(&[], &[("a", 9), ("b", 8)]), [5, 3, 0, 4, 1, 2]);
        let running = Under { project: "a".to_owned(), need: ONE, since: Moment(0) };
        assert_eq!(order(&[running], &[]), [3, 5, 0, 4, 1, 2]);
    }

    #[test]
    fn priority_comes_first() {
        let builds = waiting(&[("a", 0), ("a", 1), ("b", -1), ("b", 2)]);
        assert_eq!(numbers(&order(builds.clone(), &[], &HashMap::new(), usize::MAX)), [3, 1, 0, 2]);
        assert_eq!(numbers(&order(builds, &[], &HashMap::new(), 1)), [3]);
    }

    #[test]
    fn expects_starts() {
        let builds = waiting(&[("a", 0), ("a", 0), ("a", 0)]);
        let running = [Under { project: "a".to_owned(), need: ONE, since: Moment(500) }];
        let budget = Need { millicpus: 2000, memory: 9 };
        let expected = |time| starts(&builds, &running, budget, Moment(1000), |_| time);
        assert_eq!(expected(Some(1000)), [Some(Moment(1000)), Some(Moment(1500)), Some(Moment(2000))]);
        assert_eq!(expected(None), [None, None, None]);
    }
}
