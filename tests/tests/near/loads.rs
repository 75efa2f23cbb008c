//! One read and one load of a key at a time.

use archipelago::ErrorKind;
use archipelago_tests::loader::Loader;

use crate::{Site, becomes, tracked};

pub async fn callers_at_the_same_time_share_a_load_and_what_it_gave_is_held(site: Site) {
    for (name, result) in [("some", Some(7)), ("none", None)] {
        let (value, loader) = (site.near.register::<u32>(name), Loader::default());
        tracked(&site.near).await;
        let calls: Vec<_> = (0..50)
            .map(|_| {
                let (value, loader) = (value.clone(), loader.clone());
                tokio::spawn(async move { value.get_or_load(|| loader.load(Ok(result))).await })
            })
            .collect();
        loader.until_called(1).await;
        loader.go();
        for call in calls {
            assert_eq!(call.await.unwrap().unwrap().as_deref(), result.as_ref());
        }
        assert_eq!(loader.calls(), 1, "the others found it held");
        assert_eq!(value.get_or_load(|| loader.load(Ok(Some(9)))).await.unwrap().as_deref(), result.as_ref());
        assert_eq!(value.get().await.unwrap(), None, "the region has none");
    }
    site.end().await;
}

pub async fn a_loader_that_is_dropped_hands_over(site: Site) {
    let (value, loader) = (site.near.register::<u32>("k"), Loader::default());
    let call = |result: u32| {
        let (value, loader) = (value.clone(), loader.clone());
        tokio::spawn(async move { value.get_or_load(|| loader.load(Ok(Some(result)))).await })
    };
    let first = call(1);
    loader.until_called(1).await;
    let second = call(2);
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    loader.until_called(2).await;
    loader.go();
    assert_eq!(second.await.unwrap().unwrap().as_deref(), Some(&2));
    site.end().await;
}

pub async fn a_loaders_error_is_not_held(site: Site) {
    let (value, loader) = (site.near.register::<u32>("k"), Loader::default());
    loader.go();
    let error = value.get_or_load(|| loader.load(Err("no database".to_owned()))).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Load && error.message().contains("no database"), "{error}");
    assert_eq!(value.get_or_load(|| loader.load(Ok(Some(1)))).await.unwrap().as_deref(), Some(&1));
    site.end().await;
}

pub async fn what_the_region_has_comes_first(site: Site) {
    let (value, loader) = (site.near.register::<u32>("k"), Loader::default());
    tracked(&site.near).await;
    loader.go();
    assert_eq!(value.get_or_load(|| loader.load(Ok(Some(1)))).await.unwrap().as_deref(), Some(&1));
    site.writer.register::<u32>("k").set(&2).await.unwrap();
    becomes(&value, Some(2)).await;
    assert_eq!(value.get_or_load(|| loader.load(Ok(Some(3)))).await.unwrap().as_deref(), Some(&2));
    assert_eq!(loader.calls(), 1);
    site.end().await;
}
