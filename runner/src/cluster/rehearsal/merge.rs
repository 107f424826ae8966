//! Server-side apply in small: what an object becomes when a manager applies its part of it.
//!
//! In place of field sets it keeps, for each manager, what that manager applied last. That is enough to drop the
//! fields that a manager no longer wants, and to see when two managers want different values.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::cluster::schema::{ItemKey, item_key};

/// What each manager applied last.
pub(super) type Applied = BTreeMap<String, Value>;

/// Applies on top of the live object; `keyed` where lists are merged by the keys of built-in kinds.
///
/// Returns the object and what each manager has applied from now on.
///
/// # Errors
/// A server's sentence about the fields that other managers want otherwise, unless `force` takes them over.
pub(super) fn apply(
    live: Value,
    applied: &Applied,
    manager: &str,
    wanted: &Value,
    force: bool,
    keyed: bool,
) -> Result<(Value, Applied), String> {
    let lists = Lists { keyed };
    let mut applied = applied.clone();
    let before = applied.remove(manager);
    for (other, owned) in &mut applied {
        let mut lost = Vec::new();
        lists.hand_over(owned, wanted, "", "", &mut lost);
        if !lost.is_empty() && !force {
            let conflicts = if lost.len() == 1 { "1 conflict" } else { "conflicts" };
            return Err(format!(
                "Apply failed with {conflicts}: conflicts with \"{other}\": {}",
                lost.join(", ")
            ));
        }
    }
    let mut object = live;
    lists.merge(&mut object, wanted, "");
    if let Some(before) = before {
        let others: Vec<&Value> = applied.values().collect();
        lists.prune(&mut object, &before, Some(wanted), &others, "");
    }
    applied.insert(manager.into(), wanted.clone());
    Ok((object, applied))
}

/// Takes from every manager what an update has changed since: it is the updater's now.
pub(super) fn updated(applied: &mut Applied, object: &Value, keyed: bool) {
    for owned in applied.values_mut() {
        Lists { keyed }.hand_over(owned, object, "", "", &mut Vec::new());
    }
}

/// JSON merge patch (RFC 7396).
pub(super) fn patch(target: &mut Value, patch: &Value) {
    let Value::Object(fields) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    if let Value::Object(target) = target {
        for (name, value) in fields {
            if value.is_null() {
                target.shift_remove(name);
            } else {
                self::patch(target.entry(name).or_insert(Value::Null), value);
            }
        }
    }
}

#[derive(Clone, Copy)]
struct Lists {
    keyed: bool,
}

impl Lists {
    fn key(self, field: &str, item: &Value) -> Option<ItemKey> {
        if self.keyed { item_key(field, item) } else { None }
    }

    /// The items of a list with their keys; `None` where the list is a value as a whole.
    fn items<'a>(self, field: &str, list: &'a Value) -> Option<Vec<(ItemKey, &'a Value)>> {
        list.as_array()?.iter().map(|item| Some((self.key(field, item)?, item))).collect()
    }

    fn item<'a>(self, field: &str, list: &'a Value, key: &ItemKey) -> Option<&'a Value> {
        list.as_array()?.iter().find(|item| self.key(field, item).as_ref() == Some(key))
    }

    fn item_mut<'a>(self, field: &str, list: &'a mut Value, key: &ItemKey) -> Option<&'a mut Value> {
        list.as_array_mut()?.iter_mut().find(|item| self.key(field, item).as_ref() == Some(key))
    }

    fn merge(self, live: &mut Value, wanted: &Value, field: &str) {
        match (&mut *live, wanted) {
            (Value::Object(live), Value::Object(wanted)) => {
                for (name, value) in wanted {
                    match live.get_mut(name) {
                        Some(live) => self.merge(live, value, name),
                        None => {
                            live.insert(name.clone(), value.clone());
                        }
                    }
                }
            }
            (Value::Array(_), Value::Array(_)) => match self.items(field, wanted) {
                Some(items) if self.items(field, live).is_some() => {
                    for (key, item) in items {
                        match self.item_mut(field, live, &key) {
                            Some(live) => self.merge(live, item, ""),
                            None => live.as_array_mut().into_iter().for_each(|list| list.push(item.clone())),
                        }
                    }
                }
                _ => *live = wanted.clone(),
            },
            _ => *live = wanted.clone(),
        }
    }

    /// Removes what the manager applied `before` and neither it nor another manager wants now.
    /// Returns whether nothing is left to keep the value for.
    fn prune(
        self,
        live: &mut Value,
        before: &Value,
        wanted: Option<&Value>,
        others: &[&Value],
        field: &str,
    ) -> bool {
        match (&mut *live, before) {
            (Value::Object(fields), Value::Object(before)) => {
                for (name, before) in before {
                    let Some(child) = fields.get_mut(name) else { continue };
                    let others: Vec<_> = others.iter().filter_map(|other| other.get(name)).collect();
                    if self.prune(child, before, wanted.and_then(|wanted| wanted.get(name)), &others, name) {
                        fields.shift_remove(name);
                    }
                }
                wanted.is_none() && others.is_empty() && fields.is_empty()
            }
            (Value::Array(_), Value::Array(_)) => {
                let Some(items) = self.items(field, before) else {
                    return wanted.is_none() && others.is_empty();
                };
                for (key, before) in items {
                    let wanted = wanted.and_then(|wanted| self.item(field, wanted, &key));
                    let others: Vec<_> =
                        others.iter().filter_map(|other| self.item(field, other, &key)).collect();
                    if wanted.is_none() && others.is_empty() {
                        // Without its key an item is nothing, so it goes as a whole.
                        if let Some(list) = live.as_array_mut() {
                            list.retain(|item| self.key(field, item).as_ref() != Some(&key));
                        }
                    } else if let Some(item) = self.item_mut(field, live, &key) {
                        self.prune(item, before, wanted, &others, "");
                    }
                }
                wanted.is_none() && others.is_empty() && live.as_array().is_some_and(Vec::is_empty)
            }
            _ => wanted.is_none() && others.is_empty(),
        }
    }

    /// Takes from what another manager owns the values that are wanted otherwise, and names them.
    /// Returns whether the value as a whole is wanted otherwise.
    fn hand_over(
        self,
        owned: &mut Value,
        wanted: &Value,
        field: &str,
        path: &str,
        lost: &mut Vec<String>,
    ) -> bool {
        match (&mut *owned, wanted) {
            (Value::Object(owned), Value::Object(wanted)) => {
                for (name, wanted) in wanted {
                    let Some(child) = owned.get_mut(name) else { continue };
                    if self.hand_over(child, wanted, name, &format!("{path}.{name}"), lost) {
                        owned.shift_remove(name);
                    }
                }
                false
            }
            (Value::Array(_), Value::Array(_)) if self.items(field, wanted).is_some() => {
                for (key, wanted) in self.items(field, wanted).unwrap_or_default() {
                    if let Some(item) = self.item_mut(field, owned, &key) {
                        self.hand_over(item, wanted, "", &format!("{path}[{key}]"), lost);
                    }
                }
                false
            }
            (owned, wanted) if owned == wanted => false,
            _ => {
                lost.push(path.into());
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn applied(live: &Value, by: &Applied, manager: &str, wanted: &Value, force: bool) -> (Value, Applied) {
        apply(live.clone(), by, manager, wanted, force, true).expect("no conflict")
    }

    #[test]
    fn drops_what_its_manager_no_longer_applies() {
        let first = json!({ "spec": { "a": 1, "b": { "c": 2 }, "env": [{ "name": "X" }, { "name": "Y" }] } });
        let (mut live, by) = applied(&json!({}), &Applied::new(), "meshrun", &first, false);
        live["spec"]["of-a-controller"] = json!(true);
        let second = json!({ "spec": { "a": 1, "env": [{ "name": "Y" }] } });
        let (live, _) = applied(&live, &by, "meshrun", &second, false);
        assert_eq!(live, json!({ "spec": { "a": 1, "of-a-controller": true, "env": [{ "name": "Y" }] } }));
    }

    #[test]
    fn keeps_what_another_manager_still_applies() {
        let both = json!({ "labels": { "a": "1" } });
        let (live, by) = applied(&json!({}), &Applied::new(), "helm", &both, false);
        let (live, by) = applied(&live, &by, "meshrun", &both, false);
        let (live, by) = applied(&live, &by, "meshrun", &json!({}), false);
        assert_eq!(live, both);
        assert_eq!(applied(&live, &by, "helm", &json!({}), false).0, json!({}));
    }

    #[test]
    fn names_the_fields_that_another_manager_wants_otherwise() {
        let wanted = |value| json!({ "spec": { "env": [{ "name": "X", "value": value }] } });
        let (live, by) = applied(&json!({}), &Applied::new(), "helm", &wanted("1"), false);
        let error = apply(live, &by, "meshrun", &wanted("2"), false, true).expect_err("a conflict");
        assert_eq!(
            error,
            "Apply failed with 1 conflict: conflicts with \"helm\": .spec.env[name=\"X\"].value"
        );
    }

    #[test]
    fn takes_fields_over_by_force() {
        let (live, by) = applied(&json!({}), &Applied::new(), "helm", &json!({ "a": 1, "b": 1 }), false);
        let (live, by) = applied(&live, &by, "meshrun", &json!({ "a": 2 }), true);
        assert_eq!(live, json!({ "a": 2, "b": 1 }));
        let (live, _) = applied(&live, &by, "meshrun", &json!({ "a": 3 }), false);
        assert_eq!(live, json!({ "a": 3, "b": 1 }));
    }

    #[test]
    fn merges_lists_by_key_and_replaces_others() {
        let live = json!({ "ports": [{ "port": 80, "nodePort": 30080 }], "args": ["a"] });
        let wanted = json!({
            "ports": [{ "port": 80, "name": "http" }, { "port": 80, "protocol": "UDP" }], "args": ["b"],
        });
        assert_eq!(
            applied(&live, &Applied::new(), "meshrun", &wanted, false).0,
            json!({
                "ports": [
                    { "port": 80, "nodePort": 30080, "name": "http" },
                    { "port": 80, "protocol": "UDP" },
                ],
                "args": ["b"],
            })
        );
    }

    #[test]
    fn patches_by_merging() {
        let mut target = json!({ "a": 1, "b": { "c": 1, "d": 2 } });
        patch(&mut target, &json!({ "a": null, "b": { "c": 2 }, "e": { "f": null } }));
        assert_eq!(target, json!({ "b": { "c": 2, "d": 2 }, "e": {} }));
    }
}
