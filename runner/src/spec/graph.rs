//! The graph of steps: what comes before what.

use std::collections::{BTreeMap, BTreeSet};

use super::pipeline::{Pipeline, Step};
use crate::ids::StepId;

impl Pipeline {
    /// Steps so that each comes after its needs; among those that could come next, the order of the file.
    pub fn order(&self) -> Vec<&Step> {
        let mut order: Vec<&Step> = Vec::with_capacity(self.steps.len());
        let mut done = BTreeSet::new();
        while let Some(next) = self
            .steps
            .iter()
            .find(|step| !done.contains(&step.id) && step.needs.iter().all(|need| done.contains(need)))
        {
            done.insert(&next.id);
            order.push(next);
        }
        order
    }

    /// Steps in waves: a wave needs only steps of the waves before it.
    pub fn levels(&self) -> Vec<Vec<&Step>> {
        let mut level_of: BTreeMap<&StepId, usize> = BTreeMap::new();
        let mut levels: Vec<Vec<&Step>> = Vec::new();
        for step in self.order() {
            let level =
                step.needs.iter().filter_map(|need| level_of.get(need)).max().map_or(0, |level| level + 1);
            level_of.insert(&step.id, level);
            if level == levels.len() {
                levels.push(Vec::new());
            }
            levels[level].push(step);
        }
        levels
    }

    /// Steps that need this one directly.
    pub fn dependents(&self, id: &StepId) -> Vec<&Step> {
        self.steps.iter().filter(|step| step.needs.contains(id)).collect()
    }
}

/// The needs of every step, needs of needs included.
///
/// # Errors
/// A cycle as its ids, the first one repeated at the end: `[a, b, a]`.
pub(super) fn ancestors(
    needs: &BTreeMap<StepId, Vec<StepId>>,
) -> Result<BTreeMap<StepId, BTreeSet<StepId>>, Vec<StepId>> {
    let mut done = BTreeMap::new();
    for id in needs.keys() {
        visit(id, needs, &mut done, &mut Vec::new())?;
    }
    Ok(done)
}

fn visit(
    id: &StepId,
    needs: &BTreeMap<StepId, Vec<StepId>>,
    done: &mut BTreeMap<StepId, BTreeSet<StepId>>,
    way: &mut Vec<StepId>,
) -> Result<(), Vec<StepId>> {
    if done.contains_key(id) {
        return Ok(());
    }
    if let Some(start) = way.iter().position(|before| before == id) {
        let mut cycle = way.split_off(start);
        cycle.push(id.clone());
        return Err(cycle);
    }
    way.push(id.clone());
    let mut all = BTreeSet::new();
    for need in needs.get(id).into_iter().flatten() {
        visit(need, needs, done, way)?;
        all.extend(done.get(need).into_iter().flatten().cloned());
        all.insert(need.clone());
    }
    way.pop();
    done.insert(id.clone(), all);
    Ok(())
}
