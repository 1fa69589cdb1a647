//! Many at once, and much.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::json;

use super::{Answer, Service, base, id, times};

#[test]
fn a_long_queue_keeps_to_its_budget_and_is_fair() {
    let count = times("COOPER_SERVE_QUEUE", 200);
    let service = Service::start(&["--cpus", "3", "--build-cpus", "1", "--memory", "6GiB"]);
    let began = Instant::now();
    let builds: Vec<String> = (0..count)
        .map(|number| {
            let mut request = service.request(&format!("q:{number}"), "FROM scratch\nCOPY . /\n");
            request["project"] = json!(if number % 10 == 9 { "small" } else { "large" });
            let answer = service.build(&request, "");
            assert_eq!(answer.status, 202, "{}", answer.text());
            id(&answer.json())
        })
        .collect();
    let mut peak = 0;
    loop {
        let running =
            service.get("/v1/builds?state=running&limit=200").ok()["builds"].as_array().unwrap().len();
        peak = peak.max(running);
        assert!(running <= 3, "{running} run at once");
        let text = service.get("/metrics").text();
        let done = format!("cooper_builds_total{{state=\"succeeded\"}} {count}");
        if text.contains(&done) {
            break;
        }
        assert!(began.elapsed() < Duration::from_mins(5), "{text}");
        std::thread::sleep(Duration::from_millis(100));
    }
    println!("{count} builds with a budget of 3 in {:.1?}; at most {peak} at once", began.elapsed());
    assert!(peak > 1);
    // Those of the small project did not wait for all of the large one's that came before.
    let ended = |index: usize| service.show(&builds[index])["ended_at"].as_str().unwrap().to_owned();
    let last_small = (0..count).filter(|index| index % 10 == 9).map(ended).max().unwrap();
    let last_large = ended(count - 2);
    assert!(last_small < last_large, "{last_small} {last_large}");
}

#[test]
fn many_streams_of_events_are_fed() {
    let count = times("COOPER_SERVE_STREAMS", 1000);
    let service = Service::start(&[]);
    let base = base(&service.registry);
    let dockerfile =
        format!("FROM {base}\nRUN i=0; while [ $i -lt 20 ]; do i=$((i+1)); echo line $i; sleep 0.2; done\n");
    let build = id(&service.build(&service.request("streams:1", &dockerfile), "").ok());
    let idle = service.memory("VmRSS");
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let limit = rustix::process::Rlimit { current: limit.maximum, maximum: limit.maximum };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, limit).unwrap();
    let streams: Vec<TcpStream> = (0..count)
        .map(|_| {
            let mut stream = TcpStream::connect(&service.address).unwrap();
            write!(
                stream,
                "GET /v1/builds/{build}/events HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
            )
            .unwrap();
            stream
        })
        .collect();
    let mut whole = 0;
    for stream in streams {
        stream.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
        let text = Answer::read(&mut BufReader::new(stream)).text();
        whole += usize::from(text.contains("line 20") && text.contains("event: end"));
    }
    let grown = service.memory("VmHWM").saturating_sub(idle) >> 20;
    println!(
        "{count} streams, {whole} of them whole; the service grew by {grown} MiB from {} MiB",
        idle >> 20
    );
    assert_eq!(whole, count);
    assert!(grown < 150, "{grown} MiB");
}

#[test]
fn large_contexts_take_little_memory() {
    let size = times("COOPER_SERVE_UPLOAD", 64 << 20);
    let service = Service::start(&["--max-upload", "1GiB"]);
    let before = service.memory("VmHWM");
    let request = service.request("large:1", "FROM scratch\nLABEL a=b\nCOPY file /\n").to_string();
    let mut stream = TcpStream::connect(&service.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_mins(5))).unwrap();
    // One large file, and what ends an archive.
    let mut header = tar::Header::new_gnu();
    header.set_path("large").unwrap();
    header.set_mode(0o644);
    header.set_size(size as u64);
    header.set_cksum();
    let tail = super::context(&[]);
    let length = 512 + size + tail.len();
    write!(
        stream,
        "POST /v1/builds?wait=5m HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nCooper-Build: {request}\r\n\
         Content-Length: {length}\r\n\r\n"
    )
    .unwrap();
    stream.write_all(header.as_bytes()).unwrap();
    let zeros = vec![0; 1 << 20];
    let mut left = size;
    while left > 0 {
        let part = left.min(zeros.len());
        stream.write_all(&zeros[..part]).unwrap();
        left -= part;
    }
    stream.write_all(&tail).unwrap();
    let build = Answer::read(&mut BufReader::new(stream)).ok();
    assert_eq!(build["state"], "succeeded", "{build:#}");
    assert_eq!(build["upload"]["size"], length);
    let grown = service.memory("VmHWM") - before;
    println!("an upload of {} MiB: the service grew by {} MiB", length >> 20, grown >> 20);
    assert!(grown < 32 << 20, "{} MiB", grown >> 20);
}

#[test]
fn idle_clients_do_not_keep_others_out() {
    let service = Service::start(&[]);
    let mut idle: Vec<TcpStream> = (0..200).map(|_| TcpStream::connect(&service.address).unwrap()).collect();
    for stream in &mut idle {
        stream.write_all(b"POST /v1/builds HTTP/1.1\r\nHost: loc").unwrap();
    }
    assert_eq!(service.get("/healthz").status, 200);
    let mut byte = [0];
    idle[0].set_read_timeout(Some(Duration::from_secs(40))).unwrap();
    let began = Instant::now();
    // Half a head is not waited for.
    let answer = BufReader::new(&idle[0]).fill_buf().map(<[u8]>::to_vec).unwrap_or_default();
    assert!(answer.is_empty() || !answer.starts_with(b"HTTP/1.1 2"));
    let _ = idle[1].read(&mut byte);
    println!("half a request was ended after {:.0?}", began.elapsed());
    assert!(began.elapsed() < Duration::from_secs(39));
}
