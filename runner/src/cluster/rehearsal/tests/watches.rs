//! Watches: what they see, and in which order.

use std::time::Duration;

use futures::{FutureExt, StreamExt, stream::BoxStream};

use super::*;
use crate::cluster::{WatchEvent, WatchQuery};

fn config_maps(labels: Option<&str>) -> WatchQuery {
    WatchQuery {
        api_version: "v1".into(),
        kind: "ConfigMap".into(),
        namespace: Some("default".into()),
        name: None,
        labels: labels.map(Into::into),
    }
}

type Watch = BoxStream<'static, Result<WatchEvent>>;

/// What a watch sees next, in short: `changed mesh`.
async fn next(watch: &mut Watch) -> String {
    let names =
        |objects: &[Object]| objects.iter().map(|object| format!(" {}", object.name())).collect::<String>();
    match watch.next().await.expect("a watch does not end") {
        Ok(WatchEvent::Listed(objects)) => format!("listed{}", names(&objects)),
        Ok(WatchEvent::Changed(object)) => format!("changed{}", names(&[object])),
        Ok(WatchEvent::Deleted(object)) => format!("deleted{}", names(&[object])),
        Err(error) => error.to_string(),
    }
}

#[tokio::test]
async fn see_what_is_there_and_then_each_change() {
    let cluster = Rehearsal::default();
    apply(&cluster, config_map(json!({ "a": "1" }))).await.expect("applied");
    let mut watches = [cluster.watch(config_maps(None)), cluster.watch(config_maps(None))];
    for watch in &mut watches {
        assert_eq!(next(watch).await, "listed mesh");
    }
    apply(&cluster, config_map(json!({ "a": "1" }))).await.expect("applied");
    apply(&cluster, config_map(json!({ "a": "2" }))).await.expect("applied");
    cluster.delete(&config_map_ref()).await.expect("deleted");
    for watch in &mut watches {
        assert_eq!(next(watch).await, "changed mesh");
        assert_eq!(next(watch).await, "deleted mesh");
        assert!(watch.next().now_or_never().is_none());
    }
}

#[tokio::test]
async fn see_an_object_go_that_is_no_longer_selected() {
    let cluster = Rehearsal::default();
    let mut watch = cluster.watch(config_maps(Some("mesh=on")));
    assert_eq!(next(&mut watch).await, "listed");
    let mut map = config_map(json!({}));
    map["metadata"]["labels"] = json!({ "mesh": "on" });
    apply(&cluster, map).await.expect("applied");
    assert_eq!(next(&mut watch).await, "changed mesh");
    apply(&cluster, config_map(json!({}))).await.expect("applied");
    assert_eq!(next(&mut watch).await, "deleted mesh");
}

#[tokio::test]
async fn wait_for_an_api_that_is_not_served_yet() {
    let cluster = Rehearsal::default();
    let mut watch = cluster.watch(WatchQuery::object(&object(gateway("x")).reference()));
    assert_eq!(
        next(&mut watch).await,
        "watch Gateway: no matches for kind \"Gateway\" in version \"networking.istio.io/v1beta1\""
    );
    assert!(watch.next().now_or_never().is_none());
    apply(&cluster, crd()).await.expect("applied");
    assert_eq!(next(&mut watch).await, "listed");
    apply(&cluster, gateway("x")).await.expect("applied");
    assert_eq!(next(&mut watch).await, "changed default-gateway");
}

#[tokio::test(start_paused = true)]
async fn wake_up_when_a_delay_is_over() {
    let cluster = Rehearsal::builder().delay(Duration::from_secs(30)).build();
    apply(&cluster, deployment(1, "pilot")).await.expect("applied");
    let mut watch = cluster.watch(WatchQuery::object(&deployment_ref()));
    let started = tokio::time::Instant::now();
    loop {
        let available = match watch.next().await.expect("a watch does not end").expect("an event") {
            WatchEvent::Listed(objects) => objects[0].condition("Available").cloned(),
            WatchEvent::Changed(object) => object.condition("Available").cloned(),
            WatchEvent::Deleted(_) => panic!("deleted"),
        };
        if available.is_some_and(|condition| condition["status"] == "True") {
            break;
        }
    }
    assert_eq!(started.elapsed().as_secs(), 30);
}

#[tokio::test]
async fn list_again_after_falling_behind() {
    let cluster = Rehearsal::default();
    let mut watch = cluster.watch(config_maps(None));
    assert_eq!(next(&mut watch).await, "listed");
    for n in 0..300 {
        apply(&cluster, config_map(json!({ "n": n.to_string() }))).await.expect("applied");
    }
    assert_eq!(next(&mut watch).await, "listed mesh");
    assert!(watch.next().now_or_never().is_none());
}
