//! Writes `include/hmkv.h` from the sources and sets the SONAME.

#![allow(clippy::expect_used)] // a build that cannot go on stops

use std::{env, fs, path::PathBuf};

/// Moves only when a symbol or a meaning goes away; not the package version.
const ABI: u32 = 0;

/// The files of `src/ffi/` that make the header, in its order.
const SECTIONS: &[&str] = &[
    "status",
    "types",
    "opts",
    "common",
    "store",
    "kv",
    "temp_key",
    "lock",
    "watch",
    "request",
    "result",
    "txn",
    "event_watch",
    "mirror",
    "lease",
    "named_lock",
    "state",
    "metrics",
    "dispatch",
    "mem_fault",
];

/// Option structs that have a macro.
const OPTS: &[&str] = &["put", "range", "remove", "txn", "watch", "lock"];

fn main() {
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("set by cargo"));
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=cbindgen.toml");
    println!("cargo:rerun-if-changed=src");
    println!("cargo:rerun-if-changed=include/hmkv.h");
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libhmkv.so.{ABI}");
    println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");

    let header = header(&root);
    let path = root.join("include/hmkv.h");
    if fs::read_to_string(&path).ok().as_deref() != Some(&header) {
        fs::create_dir_all(root.join("include")).expect("create include/");
        fs::write(&path, header).expect("write include/hmkv.h");
    }
}

fn header(root: &std::path::Path) -> String {
    let config = cbindgen::Config::from_file(root.join("cbindgen.toml")).expect("cbindgen.toml");
    let source: String = SECTIONS
        .iter()
        .map(|name| fs::read_to_string(root.join(format!("src/ffi/{name}.rs"))).expect(name))
        .map(|text| text.replace("//!", "//"))
        .collect();
    let joined = PathBuf::from(env::var_os("OUT_DIR").expect("set by cargo")).join("ffi.rs");
    fs::write(&joined, source).expect("write ffi.rs");

    let mut raw = Vec::new();
    cbindgen::Builder::new()
        .with_config(config)
        .with_src(joined)
        .generate()
        .expect("cbindgen")
        .write(&mut raw);
    let text = String::from_utf8(raw).expect("cbindgen writes UTF-8");
    one_line_comments(&sections(&text)).replacen("/* @macros@ */\n", &macros(), 1)
}

/// What cbindgen cannot write: strings, `SIZE_MAX` and version macros.
fn macros() -> String {
    let number = |part: &str| env::var(format!("CARGO_PKG_VERSION_{part}")).expect("set by cargo");
    let (major, minor, patch) = (number("MAJOR"), number("MINOR"), number("PATCH"));
    let opts: String = OPTS.iter().map(|name| opts_macro(name)).collect();
    let opts = format!(
        "#ifndef __cplusplus\n\
         /** A pointer to options, as in HMKV_RANGE_OPTS(.prefix = 1), for use as an argument\n\
         \x20*  and with named fields; those not named have their defaults. C99 and later. In\n\
         \x20*  C++: hmkv_range_opts o = {{}}; o.size = sizeof o; o.prefix = 1; and &o. */\n\
         {opts}#endif\n\n"
    );
    format!(
        "\n/** Version of this header; `hmkv_version()` tells that of the loaded library. */\n\
         #define HMKV_VERSION \"{major}.{minor}.{patch}\"\n\
         #define HMKV_VERSION_MAJOR {major}\n\
         #define HMKV_VERSION_MINOR {minor}\n\
         #define HMKV_VERSION_PATCH {patch}\n\
         /** Number in the library's SONAME; moves only when a symbol or a meaning goes away. */\n\
         #define HMKV_ABI {ABI}\n\n\
         /** Default name of the distributed lock; option `lock` gives another. */\n\
         #define HMKV_DIST_LOCK_KEY \"hbtd_dist_lock\"\n\n\
         /** As a length: the bytes end with a NUL, which does not count. What may itself hold\n\
         \x20*  NUL bytes needs its length: it would be cut at the first. */\n\
         #define HMKV_NTS ((size_t)-1)\n\n\
         {opts}\
         /** The compiler warns where the result of such a function is ignored. */\n\
         #if defined(__GNUC__) || defined(__clang__)\n\
         #define HMKV_MUST_USE __attribute__((warn_unused_result))\n\
         #else\n\
         #define HMKV_MUST_USE\n\
         #endif\n"
    )
}

fn opts_macro(name: &str) -> String {
    let upper = name.to_uppercase();
    format!(
        "#define HMKV_{upper}_OPTS(...) \\\n  \
         (&(hmkv_{name}_opts){{ .size = sizeof(hmkv_{name}_opts), __VA_ARGS__ }})\n"
    )
}

/// A doc comment of one line takes one line.
fn one_line_comments(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let mut out = String::new();
    let mut at = 0;
    while at < lines.len() {
        let indent = &lines[at][..lines[at].len() - lines[at].trim_start().len()];
        let body = lines.get(at + 1).and_then(|line| line.trim_start().strip_prefix("* "));
        match body {
            Some(body) if lines[at].trim() == "/**" && lines[at + 2].trim() == "*/" => {
                out.push_str(&format!("{indent}/** {} */\n", body.trim()));
                at += 3;
            }
            _ => {
                out.push_str(lines[at]);
                out.push('\n');
                at += 1;
            }
        }
    }
    out
}

/// A comment that begins with `# Title` opens a section: its text up to the
/// line `---` becomes a comment of its own before that of the item.
fn sections(text: &str) -> String {
    let mut out = String::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let title =
            lines.peek().and_then(|next| next.strip_prefix(" * # ")).filter(|_| line == "/**");
        let Some(title) = title else {
            out.push_str(line);
            out.push('\n');
            continue;
        };
        out.push_str(&format!("/* {}\n * {title}\n", "=".repeat(76)));
        lines.next();
        for line in lines.by_ref().take_while(|line| *line != " * ---") {
            out.push_str(line);
            out.push('\n');
        }
        out.push_str(" */\n\n/**\n");
    }
    out
}
