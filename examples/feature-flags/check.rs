//! The demo: two regions, one set of flags, and what is promised of them, asserted.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use archipelago_examples::Result;
use futures_util::StreamExt;
use open_feature::{
    Client, EvaluationContext, EvaluationErrorCode as Code, EvaluationReason, OpenFeature, StructValue,
};

use crate::{
    changes::{Change, Changes, FlagChange},
    provider::FlagProvider,
    regions::World,
    samples::SAMPLES,
    store::Flags,
};

const PATIENCE: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(5);
const CHECKOUT: &str = "sample-checkout";

/// Checks all of it, and ends the world.
pub async fn all(world: World) -> Result<()> {
    let tour = Tour::start(&world).await?;
    tour.every_type_is_served_in_both_regions().await?;
    tour.a_flag_set_in_one_region_takes_effect_in_the_other().await?;
    tour.a_user_gets_the_same_answer_in_both_regions().await?;
    tour.a_kill_beats_a_concurrent_revival().await?;
    tour.a_kill_that_was_seen_can_be_undone().await?;
    tour.an_evaluation_of_what_is_held_asks_nobody().await?;
    tour.mistakes_are_answered_in_words().await?;
    clear(&world).await?;
    world.close().await;
    Ok(())
}

/// Removes the samples, in both regions.
async fn clear(world: &World) -> Result<()> {
    let [flags, _] = &world.flags;
    for (name, _) in SAMPLES {
        flags.remove(name).await?;
    }
    world.settle().await
}

/// Both regions, as an application there sees them.
struct Tour<'w> {
    world: &'w World,
    apps: [App; 2],
}

struct App {
    region: String,
    flags: Flags,
    provider: FlagProvider,
    client: Client,
}

impl App {
    async fn start(region: String, flags: Flags) -> Self {
        let provider = FlagProvider::new(flags.clone());
        let mut api = OpenFeature::default();
        api.set_provider(provider.clone()).await;
        Self { region, flags, provider, client: api.create_client() }
    }

    /// A boolean flag's value for one user.
    async fn is_on(&self, flag: &str, user: &EvaluationContext) -> Result<bool> {
        Ok(self.client.get_bool_value(flag, Some(user), None).await.map_err(said)?)
    }

    /// Until this app is served that; says how long it took.
    async fn wait_for(&self, flag: &str, user: &EvaluationContext, value: bool) -> Result<Duration> {
        let began = Instant::now();
        while self.client.get_bool_value(flag, Some(user), None).await.ok() != Some(value) {
            if began.elapsed() > PATIENCE {
                return Err(format!("{}: {flag} is not {value} after {PATIENCE:?}", self.region).into());
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(began.elapsed())
    }
}

fn said(error: open_feature::EvaluationError) -> String {
    format!("{}: {}", error.code, error.message.unwrap_or_default())
}

fn user(key: impl Into<String>) -> EvaluationContext {
    EvaluationContext::default().with_targeting_key(key)
}

/// The next change of that kind.
async fn change(changes: &mut Changes, flag: &str, wanted: Change) -> Result<()> {
    let wanted = FlagChange { flag: flag.to_owned(), change: wanted };
    let found = async { changes.by_ref().any(|change| std::future::ready(change == wanted)).await };
    match tokio::time::timeout(PATIENCE, found).await {
        Ok(true) => Ok(()),
        Ok(false) => Err(format!("the stream ended before {wanted}").into()),
        Err(_) => Err(format!("waited for {wanted} for {PATIENCE:?}").into()),
    }
}

impl<'w> Tour<'w> {
    async fn start(world: &'w World) -> Result<Self> {
        let [us, eu] = world.clients.each_ref().map(|client| client.local_region().to_string());
        let [in_us, in_eu] = world.flags.clone();
        clear(world).await?;
        for (name, definition) in SAMPLES {
            in_us.set(name, definition).await?;
        }
        world.settle().await?;
        println!("Two regions, {us} and {eu}, with {} flags set in {us}.", SAMPLES.len());
        Ok(Self { world, apps: [App::start(us, in_us).await, App::start(eu, in_eu).await] })
    }

    async fn every_type_is_served_in_both_regions(&self) -> Result<()> {
        let pro = user("ada").with_custom_field("plan", "pro");
        for App { client, .. } in &self.apps {
            assert_eq!(client.get_int_value("sample-page-size", Some(&pro), None).await.map_err(said)?, 100);
            assert_eq!(client.get_int_value("sample-page-size", None, None).await.map_err(said)?, 20);
            assert_eq!(client.get_float_value("sample-discount", None, None).await.map_err(said)?, 0.0);
            let text = client.get_string_value("sample-button", Some(&pro), None).await.map_err(said)?;
            assert!(text.starts_with("Buy"), "{text}");
            let theme: StructValue = client.get_struct_value("sample-theme", None, None).await.map_err(said)?;
            assert_eq!(theme.fields.get("ink").and_then(|ink| ink.as_str()), Some("black"));
            let adult = user("x").with_custom_field("country", "DE").with_custom_field("age", 18_i64);
            let details = client.get_bool_details(CHECKOUT, Some(&adult), None).await.map_err(said)?;
            assert_eq!((details.value, details.reason), (true, Some(EvaluationReason::TargetingMatch)));
        }
        println!("Booleans, integers, floats, strings and structs are served in both.");
        Ok(())
    }

    async fn a_flag_set_in_one_region_takes_effect_in_the_other(&self) -> Result<()> {
        let [us, eu] = &self.apps;
        let mut changes = eu.provider.changes();
        change(&mut changes, CHECKOUT, Change::Defined).await?; // what it is now
        let before = EvaluationContext::default().with_custom_field("email", "qa-1@example.com");
        assert!(eu.is_on(CHECKOUT, &before).await?);
        let off = r#"{"type": "boolean", "variants": {"on": true, "off": false}, "default": "off"}"#;
        us.flags.set(CHECKOUT, off).await?;
        self.world.carry().await?;
        let took = eu.wait_for(CHECKOUT, &before, false).await?;
        change(&mut changes, CHECKOUT, Change::Defined).await?;
        println!(
            "{CHECKOUT}, changed in {}, took effect in {} after {took:.0?}, and was told as a change.",
            us.region, eu.region
        );
        self.restore().await
    }

    /// The sample as it was, in both regions.
    async fn restore(&self) -> Result<()> {
        let [us, _] = &self.apps;
        let tester = EvaluationContext::default().with_custom_field("email", "qa-1@example.com");
        us.flags.set(CHECKOUT, SAMPLES[0].1).await?;
        self.world.carry().await?;
        for app in &self.apps {
            app.wait_for(CHECKOUT, &tester, true).await?;
        }
        Ok(())
    }

    async fn a_user_gets_the_same_answer_in_both_regions(&self) -> Result<()> {
        const USERS: usize = 10_000;
        let [us, eu] = &self.apps;
        let (mut on, mut buttons) = (0_usize, BTreeMap::<String, usize>::new());
        for n in 0..USERS {
            let user = user(format!("user-{n}"));
            let answer = us.is_on(CHECKOUT, &user).await?;
            assert_eq!(answer, eu.is_on(CHECKOUT, &user).await?, "user-{n} gets two answers");
            on += usize::from(answer);
            let button = us.client.get_string_details("sample-button", Some(&user), None).await.map_err(said)?;
            *buttons.entry(button.variant.unwrap_or_default()).or_default() += 1;
        }
        // Within four standard deviations of a fair draw.
        assert!(on.abs_diff(2500) < 174, "{on} of {USERS} instead of 25%");
        for (variant, expected) in [("blue", 5000), ("green", 3000), ("red", 2000)] {
            let found = buttons.get(variant).copied().unwrap_or_default();
            assert!(found.abs_diff(expected) < 201, "{variant}: {found} instead of {expected}");
        }
        println!(
            "{USERS} users get the same answer in both; {on} of them are in the rollout to 25%, and buttons {buttons:?}."
        );
        Ok(())
    }

    async fn a_kill_beats_a_concurrent_revival(&self) -> Result<()> {
        let [us, eu] = &self.apps;
        let tester = EvaluationContext::default().with_custom_field("email", "qa-1@example.com");
        let mut changes = eu.provider.changes();
        self.world.cut()?;
        us.flags.kill(CHECKOUT).await?;
        eu.flags.revive(CHECKOUT).await?; // later, but without having heard of it
        us.wait_for(CHECKOUT, &tester, false).await?;
        assert!(eu.is_on(CHECKOUT, &tester).await?, "nobody has told {} yet", eu.region);
        self.world.settle().await?;
        change(&mut changes, CHECKOUT, Change::Killed).await?;
        for app in &self.apps {
            app.wait_for(CHECKOUT, &tester, false).await?;
            let details = app.client.get_bool_details(CHECKOUT, Some(&tester), None).await.map_err(said)?;
            assert_eq!((details.variant.as_deref(), details.reason), (Some("off"), Some(EvaluationReason::Disabled)));
        }
        println!("Killed in {} and revived in {} at the same time: killed in both.", us.region, eu.region);
        Ok(())
    }

    async fn a_kill_that_was_seen_can_be_undone(&self) -> Result<()> {
        let [us, eu] = &self.apps;
        let tester = EvaluationContext::default().with_custom_field("email", "qa-1@example.com");
        let mut changes = us.provider.changes();
        eu.flags.revive(CHECKOUT).await?;
        self.world.carry().await?;
        change(&mut changes, CHECKOUT, Change::Revived).await?;
        for app in &self.apps {
            app.wait_for(CHECKOUT, &tester, true).await?;
        }
        println!("Revived in {}, which had heard of the kill: alive in both.", eu.region);
        Ok(())
    }

    async fn an_evaluation_of_what_is_held_asks_nobody(&self) -> Result<()> {
        for app in &self.apps {
            let near = app.flags.near();
            let (began, before) = (Instant::now(), near.stats());
            for n in 0..1000 {
                app.is_on(CHECKOUT, &user(format!("user-{n}"))).await?;
            }
            let after = near.stats();
            // A value is asked for again after its time to live.
            if began.elapsed() < Duration::from_secs(1) {
                assert!(after.misses - before.misses <= 8, "{}: {before:?}, {after:?}", app.region);
            }
            assert!(after.hits - before.hits >= 1000, "{}: {before:?}, {after:?}", app.region);
        }
        println!("A thousand evaluations are answered from memory.");
        Ok(())
    }

    async fn mistakes_are_answered_in_words(&self) -> Result<()> {
        let [us, _] = &self.apps;
        let asked = async |name: &str, user: &EvaluationContext| {
            let error = us.client.get_bool_value(name, Some(user), None).await.expect_err(name);
            (error.code, error.message.unwrap_or_default())
        };
        let ada = user("ada");
        let huge = "n".repeat(1_000_000);
        let mistakes = [
            (asked("sample-nothing", &ada).await, Code::FlagNotFound, "there is no flag \"sample-nothing\""),
            (asked(&huge, &ada).await, Code::FlagNotFound, "1 to 128 bytes, this one has 1000000"),
            (asked("", &ada).await, Code::FlagNotFound, "this one has 0"),
            (asked("sample-discount", &ada).await, Code::TypeMismatch, "is a float, asked for as bool"),
            (asked(CHECKOUT, &EvaluationContext::default()).await, Code::TargetingKeyMissing, "needs a targeting key"),
            (asked(CHECKOUT, &user(huge.clone())).await, Code::InvalidContext, "at most 1024 bytes"),
        ];
        for ((code, message), expected, words) in mistakes {
            assert!(code == expected && message.contains(words) && message.len() < 300, "{code}: {message}");
        }
        let refused = [
            (CHECKOUT, "{", "this is no JSON"),
            (
                CHECKOUT,
                r#"{"type": "boolean", "variants": {"on": 1}, "default": "on"}"#,
                "expected bool, found a number",
            ),
            (CHECKOUT, r#"{"type": "boolean", "variants": {}, "default": "on"}"#, "there is no variant"),
            (CHECKOUT, huge.as_str(), "at most 65536 bytes"),
            (huge.as_str(), "{}", "1 to 128 bytes"),
            ("a:b", "{}", "letters, digits"),
        ];
        for (name, definition, words) in refused {
            let error = us.flags.set(name, definition).await.expect_err(words).to_string();
            assert!(error.contains(words) && error.len() < 300, "{error}");
        }
        assert!(us.flags.kill("sample-nothing").await.is_err());
        // Somebody else wrote it, past every check.
        us.flags.set_unchecked("sample-discount", &serde_json::json!({"type": "boolean"})).await?;
        let began = Instant::now();
        loop {
            let (code, message) = asked("sample-discount", &ada).await;
            match code {
                Code::ParseError => break assert!(message.contains("missing field"), "{message}"),
                _ if began.elapsed() < PATIENCE => tokio::time::sleep(LOOK).await,
                _ => return Err(format!("{code}: {message}").into()),
            }
        }
        println!("Unknown flags, wrong types, malformed definitions and huge names are answered in words.");
        Ok(())
    }
}
