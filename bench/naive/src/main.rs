//! naive WORKLOAD ENDPOINT THREADS N: run one workload, print one line of JSON.
//! Exits with 1 when an operation failed or did not do what it should.

mod client;
mod measure;

use std::error::Error;
use std::process::exit;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use client::Client;
use measure::{Clock, Run};

const KEY_COUNT: usize = 10_000;
const VALUE_LEN: usize = 100;

type Done = Result<bool, Box<dyn Error>>;

fn key(i: usize) -> String {
    format!("bench/key/{i:014}")
}

fn value(i: usize) -> String {
    ["a", "b"][i % 2].repeat(VALUE_LEN)
}

/// 1 when the operation failed or did not do what it should.
fn errors(what: &str, done: Done) -> usize {
    match done {
        Ok(true) => return 0,
        Ok(false) => eprintln!("naive: {what}: not done"),
        Err(error) => eprintln!("naive: {what}: {error}"),
    }
    1
}

fn get(client: &Client, key: &str) -> Done {
    Ok(client.get(key)?.is_some_and(|value| value.len() == VALUE_LEN))
}

fn put(client: &Client, key: &str, value: &str) -> Done {
    client.put(key, value)?;
    Ok(true)
}

/// One operation of one thread after the other.
struct Worker<'a> {
    client: &'a Client,
    workload: &'a str,
    keys: &'a [String],
    values: &'a [String; 2],
    own_key: String,
    random: u32,
}

impl Worker<'_> {
    fn step(&mut self, i: usize) -> usize {
        self.random = self.random.wrapping_mul(1664525).wrapping_add(1013904223);
        let key = &self.keys[(self.random >> 8) as usize % KEY_COUNT];
        let (now, next) = (&self.values[i % 2], &self.values[(i + 1) % 2]);
        let done = match self.workload {
            "get" => get(self.client, key),
            "put" => put(self.client, key, now),
            // Succeeds only after the last one took effect.
            _ => self.client.tas(&self.own_key, now, next).map_err(Into::into),
        };
        errors(self.workload, done)
    }
}

/// What was put is what is got.
fn check_put(client: &Client, key: &str, values: &[String; 2]) -> usize {
    let check = |value: &String| -> Done {
        client.put(key, value)?;
        Ok(client.get(key)?.as_deref() == Some(value.as_bytes()))
    };
    values.iter().rev().map(|value| errors("check", check(value))).sum()
}

fn run_threads(
    workload: &str,
    endpoint: &str,
    threads: usize,
    n: usize,
) -> Result<Run, Box<dyn Error>> {
    let client = Client::open(endpoint)?;
    let keys: Vec<String> = (0..KEY_COUNT).map(key).collect();
    let values = [value(0), value(1)];
    let each = n / threads;
    let warm = each / 10;
    let (ready, go) = (Barrier::new(threads + 1), Barrier::new(threads + 1));

    let work = |id: usize| {
        let own_key = format!("bench/tas/{id:014}");
        let random = 12345 + 977 * id as u32;
        let (client, keys, values) = (&client, &keys[..], &values);
        let mut worker = Worker { client, workload, keys, values, own_key, random };
        let mut failed = errors("put", put(client, &worker.own_key, &values[0]));
        failed += (0..warm).map(|i| worker.step(i)).sum::<usize>();
        let mut latencies = Vec::with_capacity(each);
        ready.wait();
        go.wait();
        for i in warm..warm + each {
            let start = Instant::now();
            failed += worker.step(i);
            latencies.push(start.elapsed());
        }
        (failed, latencies)
    };

    let (cost, ends) = thread::scope(|scope| {
        let work = &work;
        let workers: Vec<_> = (0..threads).map(|id| scope.spawn(move || work(id))).collect();
        ready.wait();
        let clock = Clock::start();
        go.wait();
        let ends: Result<Vec<_>, _> = workers.into_iter().map(|worker| worker.join()).collect();
        (clock.stop(), ends)
    });
    let (failed, latencies): (Vec<usize>, Vec<Vec<Duration>>) =
        ends.map_err(|_| "a thread panicked")?.into_iter().unzip();

    let errors = failed.iter().sum::<usize>() + check_put(&client, &keys[0], &values);
    Ok(Run { cost, latencies: latencies.concat(), calls: (warm + each) * threads, errors })
}

/// `once` before the clock starts, then `n` times.
fn run_one(what: &str, n: usize, once: impl Fn() -> Done) -> Run {
    let mut failed = errors(what, once());
    let mut latencies = Vec::with_capacity(n);
    let clock = Clock::start();
    for _ in 0..n {
        let start = Instant::now();
        failed += errors(what, once());
        latencies.push(start.elapsed());
    }
    Run { cost: clock.stop(), latencies, calls: n + 1, errors: failed }
}

fn run_open(endpoint: &str, n: usize) -> Run {
    run_one("open", n, || get(&Client::open(endpoint)?, &key(0)))
}

fn run_range(endpoint: &str, n: usize) -> Result<Run, Box<dyn Error>> {
    let client = Client::open(endpoint)?;
    let (first, last) = (key(0), key(KEY_COUNT - 1));
    Ok(run_one("range", n, || {
        let pairs = client.range(&first, &last)?;
        let bytes: usize = pairs.iter().map(|(key, value)| key.len() + value.len()).sum();
        Ok(pairs.len() == KEY_COUNT && bytes == KEY_COUNT * (first.len() + VALUE_LEN))
    }))
}

fn run_watch(endpoint: &str, n: usize) -> Result<Run, Box<dyn Error>> {
    let client = Client::open(endpoint)?;
    let key = "bench/wch/00000000000000";
    let values = [value(0), value(1)];
    let heard = client.watch(key)?;
    let put_and_hear = |i: usize| -> Result<Duration, Box<dyn Error>> {
        let start = Instant::now();
        client.put(key, &values[i % 2])?;
        Ok(heard.recv_timeout(Duration::from_secs(5))? - start)
    };

    let warm = n / 10;
    for i in 0..warm {
        put_and_hear(i)?;
    }
    let mut latencies = Vec::with_capacity(n);
    let clock = Clock::start();
    for i in 0..n {
        latencies.push(put_and_hear(i)?);
    }
    let cost = clock.stop();
    let errors = usize::from(heard.try_recv().is_ok()); // one too many
    Ok(Run { cost, latencies, calls: warm + n, errors })
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [workload, endpoint, threads, n] = &arguments[..] else {
        return Err("usage: naive WORKLOAD ENDPOINT THREADS N".into());
    };
    let (threads, n) = (threads.parse()?, n.parse()?);
    let run = match workload.as_str() {
        "get" | "put" | "tas" => run_threads(workload, endpoint, threads, n)?,
        "open" => run_open(endpoint, n),
        "range" => run_range(endpoint, n)?,
        "watch" => run_watch(endpoint, n)?,
        _ => return Err(format!("no workload {workload}").into()),
    };
    let failed = run.errors > 0;
    run.print(workload, threads);
    exit(failed.into())
}
