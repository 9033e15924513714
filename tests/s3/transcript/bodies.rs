//! Steps about how bodies come and how connections go on: chunks, trailers, waiting, pipelines, HTTP/1.0.
//!
//! Source: "Signature calculations: chunked upload"; RFC 9112 sections 7.1 and 9.3, RFC 9110 section 10.1.1.

use super::{Step, pipelined, raw, step};
use crate::request::{Coding, Request, Signed, TRAILER, crc32};

const BYTES: &[u8] = b"a body of some chunks, each of sixteen bytes but the last";

/// The steps, in their order.
pub fn steps() -> Vec<Step> {
    let mut steps = coded();
    steps.extend(connections());
    steps
}

fn coded() -> Vec<Step> {
    let put = |coding: Coding| Request::put("coded").body(BYTES).coding(coding);
    let checked = Request::put("checked").header(TRAILER, &crc32(BYTES)).body(BYTES);
    vec![
        step("PUT with its SHA-256", put(Coding::Sha256)),
        step("PUT in signed chunks", put(Coding::Signed(16)).header("content-encoding", "gzip")),
        step("HEAD of what came in signed chunks", Request::head("coded")),
        step("PUT in signed chunks with a trailer", put(Coding::SignedTrailer(16))),
        step("PUT in chunks with a trailer", put(Coding::UnsignedTrailer(16))),
        step("GET of what came in chunks", Request::get("coded").header("x-amz-checksum-mode", "ENABLED")),
        raw("PUT with a chunk that was changed", put(Coding::Signed(16)).signed().with_body("body", "BODY")),
        raw(
            "PUT with a trailer that was changed",
            put(Coding::UnsignedTrailer(16)).signed().with_body(&crc32(BYTES), &crc32(b"")),
        ),
        step("PUT with a checksum", checked.clone()),
        step("PUT with a wrong checksum", checked.body(b"other bytes")),
        step("HEAD with a checksum", Request::head("checked").header("x-amz-checksum-mode", "ENABLED")),
        raw("PUT that ends early", cut(put(Coding::Sha256).signed(), 20)),
        raw("PUT in chunks that ends early", cut(put(Coding::Signed(16)).signed(), 150)),
        raw("PUT without a length", Request::put("k").signed().with_head("content-length: 0\r\n", "")),
        raw("PUT chunked by HTTP", chunked()),
    ]
}

fn cut(mut signed: Signed, bytes: usize) -> Signed {
    signed.body.truncate(bytes);
    signed
}

fn chunked() -> Signed {
    let mut signed = Request::put("chunked").header("transfer-encoding", "chunked").signed();
    signed.body = b"6\r\nchunks\r\n4;a=b\r\n of \r\n4\r\nHTTP\r\n0\r\nx-trailer: 1\r\n\r\n".to_vec();
    signed
}

fn connections() -> Vec<Step> {
    let waiting = Request::put("waited").header("expect", "100-continue").body(BYTES);
    vec![
        step("PUT that waits to be asked", waiting.clone()),
        step("PUT that waits and is refused", waiting.header("if-none-match", "*")),
        pipelined(
            "three requests at once",
            &[
                Request::put("piped").body(b"in a pipe").coding(Coding::Signed(4)),
                Request::get("piped"),
                Request::delete("piped"),
            ],
        ),
        pipelined(
            "an error in a pipe",
            &[
                Request::get("missing"),
                Request::get("chunked"),
                Request::get("chunked").header("connection", "close"),
            ],
        ),
        step("HTTP/1.0", Request::get("chunked").version("HTTP/1.0")),
        step(
            "HTTP/1.0 that goes on",
            Request::get("chunked").version("HTTP/1.0").header("connection", "keep-alive"),
        ),
        step("PUT by HTTP/1.0", Request::put("chunked").version("HTTP/1.0").body(BYTES)),
        raw("a presigned GET", Request::get("chunked").presigned(60)),
        raw("a presigned GET that has expired", Request::get("chunked").ahead_s(-120).presigned(60)),
    ]
}
