use super::*;
use crate::kv;

fn store() -> Arc<Store> {
    Store::open(&format!("mem:watch-{}", crate::gate::unique_id()), "").expect("a store")
}

/// Has no memory for changes.
#[derive(Default)]
struct Scarce {
    end: Option<Error>,
}

impl Keeper for Scarce {
    fn keep(&mut self, told: Told) -> Result<Address> {
        match told {
            Told::Item(_) => Err(Error::NoMemory("for the event".into())),
            Told::Ended(why) => {
                self.end = Some(why);
                Ok(Address(std::ptr::from_ref(&self.end).cast()))
            }
        }
    }
}

#[test]
fn who_pulls_what_there_is_no_memory_for_is_told_the_end() {
    let store = store();
    let wish = Wish::changes(KeyRange::single("k"));
    let keeper = Box::new(Scarce::default());
    let watcher = open(&store, &wish, Kinds::ALL, To::Pull(keeper)).expect("a watch");
    for value in ["1", "2"] {
        kv::put(&store, "k".into(), value.into()).expect("a put");
    }
    let moment = Some(Duration::from_millis(200));
    let end = watcher.next(moment).expect("the end");
    assert!(end.is_some());
    for _ in 0..2 {
        assert!(matches!(watcher.next(moment), Err(Error::NoMemory(_))));
    }
    watcher.cancel(|| {}).expect("a cancel");
}
