//! Steps about uploads in parts. The upload is begun before the transcript, since its id is part of every request.
//!
//! Source: CreateMultipartUpload, UploadPart, ListParts, CompleteMultipartUpload, AbortMultipartUpload.

use super::{Step, step};
use crate::request::{Coding, Request, etag};

const PART: &[u8] = b"the one part of an upload";

/// The steps, in their order.
pub fn steps(upload: &str) -> Vec<Step> {
    let tag = etag(PART);
    let complete = |parts: &[(u32, &str)]| Request::complete("parts", upload, parts);
    let list = || Request::get("parts").query("uploadId", upload);
    vec![
        step("CreateMultipartUpload", Request::of_key("POST", "other").query("uploads", "")),
        step("UploadPart", Request::part("parts", upload, 1).body(b"another")),
        step("UploadPart again", Request::part("parts", upload, 1).body(PART).coding(Coding::Signed(8))),
        step("UploadPart 0", Request::part("parts", upload, 0).body(PART)),
        step("UploadPart 10,001", Request::part("parts", upload, 10_001).body(PART)),
        step("UploadPart of no upload", Request::part("parts", "none", 1).body(PART)),
        step("ListParts", list()),
        step("ListParts behind the last", list().query("part-number-marker", "1")),
        step("GET before Complete", Request::get("parts")),
        step("Complete without parts", complete(&[])),
        step("Complete with a wrong tag", complete(&[(1, "\"00\"")])),
        step("Complete with a missing part", complete(&[(1, &tag), (2, &tag)])),
        step("Complete in a wrong order", complete(&[(2, &tag), (1, &tag)])),
        step("CompleteMultipartUpload", complete(&[(1, &tag)])),
        step("CompleteMultipartUpload again", complete(&[(1, &tag)])),
        step("GET of what came in parts", Request::get("parts")),
        step("AbortMultipartUpload behind Complete", Request::delete("parts").query("uploadId", upload)),
        step("UploadPart behind Complete", Request::part("parts", upload, 2).body(PART)),
    ]
}
