//! Who gets the lock when clocks differ, holders die, and answers get lost.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use jiff::{SignedDuration, Timestamp};

use super::*;
use crate::cluster::{
    flaky::{Fate, Flaky},
    rehearsal::Rehearsal,
};

const NAMESPACE: &str = "default";
const PIPELINE: &str = "prod";

/// The time as a machine has it whose clock differs by so many seconds.
fn clock(differs: i64) -> String {
    (Timestamp::now() + SignedDuration::from_secs(differs)).strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}

/// A cluster with a lock that another machine, whose clock is so many seconds behind, has taken just now.
async fn held_by_other(behind: i64) -> Arc<dyn Cluster> {
    let cluster = Rehearsal::default();
    let mut lease = lease(&reference(NAMESPACE, PIPELINE), PIPELINE, "someone@elsewhere");
    lease.json_mut()["metadata"]["annotations"] = json!({});
    lease.json_mut()["spec"]["renewTime"] = clock(-behind).into();
    cluster.create(&lease).await.expect("it is new");
    Arc::new(cluster)
}

/// Renews the other machine's lock every five seconds, so many times.
fn renew(cluster: &Arc<dyn Cluster>, behind: i64, times: usize) -> JoinHandle<()> {
    let cluster = Arc::clone(cluster);
    tokio::spawn(async move {
        for _ in 0..times {
            tokio::time::sleep(Duration::from_secs(5)).await;
            let patch = json!({ "spec": { "renewTime": clock(-behind) } });
            cluster.patch(&reference(NAMESPACE, PIPELINE), &patch, None).await.expect("it is there");
        }
    })
}

/// Tries to take the lock. Returns who holds it then, or nobody but us, and how many seconds that took.
async fn acquire(cluster: &Arc<dyn Cluster>, patience: Option<u64>) -> (Option<String>, u64) {
    let began = Instant::now();
    let lock =
        Lock::acquire(Arc::clone(cluster), NAMESPACE, PIPELINE, patience.map(Duration::from_secs)).await;
    let holder = match lock {
        Ok(_) => None,
        Err(LockError::Held { holder, .. }) => Some(holder.name),
        Err(LockError::Cluster(error)) => panic!("{error}"),
    };
    (holder, began.elapsed().as_secs())
}

fn other() -> Option<String> {
    Some("someone@elsewhere".into())
}

#[tokio::test(start_paused = true)]
async fn living_holder_whose_clock_is_behind_keeps_the_lock() {
    let cluster = held_by_other(20).await;
    let heart = renew(&cluster, 20, 100);
    // Without patience too: it is watched until it is renewed.
    assert_eq!(acquire(&cluster, None).await, (other(), 5));
    assert_eq!(acquire(&cluster, Some(60)).await, (other(), 60));
    heart.abort();
}

#[tokio::test(start_paused = true)]
async fn silent_holder_whose_clock_is_behind_loses_the_lock_after_a_lease_of_watching() {
    assert_eq!(acquire(&held_by_other(20).await, None).await, (None, 15));
    let cluster = held_by_other(20).await;
    let heart = renew(&cluster, 20, 2);
    assert_eq!(acquire(&cluster, Some(60)).await, (None, 25));
    heart.abort();
}

#[tokio::test(start_paused = true)]
async fn silent_holder_whose_clock_is_ahead_loses_the_lock_as_well() {
    let cluster = held_by_other(-3600).await;
    assert_eq!(acquire(&cluster, None).await, (other(), 0));
    assert_eq!(acquire(&cluster, Some(60)).await, (None, 15));
}

#[tokio::test(start_paused = true)]
async fn lease_that_expired_by_every_clock_is_taken_at_once() {
    assert_eq!(acquire(&held_by_other(400).await, None).await, (None, 0));
}

#[tokio::test(start_paused = true)]
async fn fresh_lease_is_refused_at_once() {
    assert_eq!(acquire(&held_by_other(0).await, None).await, (other(), 0));
}

#[tokio::test(start_paused = true)]
async fn lock_that_is_given_back_is_taken_at_once() {
    let cluster = held_by_other(0).await;
    let back = Arc::clone(&cluster);
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(3)).await;
        back.delete(&reference(NAMESPACE, PIPELINE)).await.expect("it is there");
    });
    assert_eq!(acquire(&cluster, Some(60)).await, (None, 3));
}

#[tokio::test(start_paused = true)]
async fn run_with_nothing_to_do_leaves_a_doubtful_lease_alone() {
    for (behind, left) in [(20, other()), (400, None)] {
        let cluster = held_by_other(behind).await;
        Lock::clear(Arc::clone(&cluster), NAMESPACE, PIPELINE).await.expect("the cluster works");
        let lease = cluster.get(&reference(NAMESPACE, PIPELINE)).await.expect("the cluster works");
        assert_eq!(lease.map(|lease| lease.text("/spec/holderIdentity").to_owned()), left);
    }
}

/// Takes the lock; later patches are met by a fate.
async fn holding(fate: impl Fn() -> Fate + Send + Sync + 'static) -> (Rehearsal, Lock) {
    let cluster = Rehearsal::default();
    let flaky = Flaky::new(cluster.clone(), move |method, _| match method {
        "patch" => fate(),
        _ => Fate::Answered,
    });
    let lock = Lock::acquire(Arc::new(flaky), NAMESPACE, PIPELINE, None).await.expect("it is free");
    (cluster, lock)
}

#[tokio::test(start_paused = true)]
async fn holder_knows_that_the_lock_is_lost_when_the_cluster_is_silent_for_a_lease() {
    let (_, lock) = holding(|| Fate::Silent).await;
    let began = Instant::now();
    let loss = lock.lost();
    assert_eq!(loss.happened().await, "it could not be renewed in time: the cluster does not answer");
    let elapsed = began.elapsed();
    assert!(elapsed <= Duration::from_secs(15), "{elapsed:?}");
    assert!(elapsed > Duration::from_secs(13), "{elapsed:?}");
}

#[tokio::test(start_paused = true)]
async fn holder_keeps_the_lock_through_an_answer_that_got_lost_and_one_that_never_came() {
    let patches = AtomicUsize::new(0);
    let (_, lock) = holding(move || match patches.fetch_add(1, Ordering::Relaxed) {
        0 => Fate::AnswerLost,
        3 => Fate::Silent,
        _ => Fate::Answered,
    })
    .await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(lock.lost().reason(), None);
}

#[tokio::test(start_paused = true)]
async fn holder_learns_that_another_took_the_lock() {
    let (cluster, lock) = holding(|| Fate::Answered).await;
    let patch = json!({ "spec": { "holderIdentity": "someone@elsewhere" } });
    cluster.patch(&reference(NAMESPACE, PIPELINE), &patch, None).await.expect("it is there");
    let loss = lock.lost();
    let reason = loss.happened().await;
    assert!(reason.starts_with("somebody else took it: patch Lease default/meshrun.prod: "), "{reason}");
    lock.release().await.expect("the cluster works");
    assert!(cluster.get(&reference(NAMESPACE, PIPELINE)).await.expect("a Lease").is_some());
}

#[tokio::test(start_paused = true)]
async fn creation_whose_answer_got_lost_is_the_lock() {
    let first = AtomicBool::new(true);
    let cluster: Arc<dyn Cluster> = Arc::new(Flaky::new(Rehearsal::default(), move |method, _| {
        match method == "create" && first.swap(false, Ordering::Relaxed) {
            true => Fate::AnswerLost,
            false => Fate::Answered,
        }
    }));
    assert_eq!(acquire(&cluster, None).await, (None, 0));
}
