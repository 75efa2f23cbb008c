//! What a client said: its events, as text, for assertions about them all.

use std::sync::{Arc, Mutex};

use archipelago::{Client, testing::poll};
use futures_util::StreamExt;

/// Every event of a client from now on.
#[derive(Clone)]
pub struct Said {
    lines: Arc<Mutex<Vec<String>>>,
}

impl Said {
    pub fn by(client: &Client) -> Self {
        let (mut events, lines) = (client.events(), Arc::<Mutex<Vec<String>>>::default());
        tokio::spawn({
            let lines = lines.clone();
            async move {
                while let Some(event) = events.next().await {
                    lines.lock().unwrap().push(format!("{event} {event:?}"));
                }
            }
        });
        Self { lines }
    }

    /// Waits for an event that has all of these words; says it.
    pub async fn until(&self, words: &[&str]) -> String {
        let find = || async {
            self.lines.lock().unwrap().iter().find(|line| words.iter().all(|word| line.contains(word))).cloned()
        };
        match poll::within(poll::PATIENCE, find).await {
            Some(line) => line,
            None => panic!("no event with {words:?} among {:#?}", self.all()),
        }
    }

    pub fn all(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }
}
