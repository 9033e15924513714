//! Whole heads, signed by the signer and then spoilt: what is accepted, what each defect is answered with.
//! Every single bit of every head is flipped in every mode; a head that still passes must say the same.
//! Random requests that the signer signs are always accepted.

use proptest::prelude::*;

use super::*;
use crate::auth::credential::{CallerKind, Secret};
use crate::auth::sign::{Signer, ToSign, target};
use crate::http::head::Parsed;

const NOW: u64 = 1_369_353_600;
const AKID: &str = "AKIAIOSFODNN7EXAMPLE";
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
const ALL_MODES: [PayloadMode; 5] = [
    PayloadMode::Unsigned,
    PayloadMode::Sha256([0xab; 32]),
    PayloadMode::SignedChunks,
    PayloadMode::SignedChunksTrailer,
    PayloadMode::UnsignedTrailer,
];

fn credentials() -> Credentials {
    Credentials::new([Credential {
        access_key_id: AKID.into(),
        secret_access_key: Secret::new(SECRET.to_owned()),
        caller: Caller {
            name: "root".into(),
            canonical_id: "c0".repeat(32).into(),
            account_id: "000000000001".into(),
            kind: CallerKind::Root,
        },
    }])
}

fn signer(unix_s: u64) -> Signer {
    Signer::new(AKID, &Secret::new(SECRET.to_owned()), "us-east-1", i64::try_from(unix_s).unwrap())
}

/// A head on the wire: the request's own headers, then those given.
fn wire(request: &ToSign<'_>, target: &str, more: &[(&str, &str)]) -> String {
    let lines: String =
        request.headers.iter().chain(more).map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    format!("{} {target} HTTP/1.1\r\n{lines}\r\n", request.method)
}

fn by_header(signer: &Signer, request: &ToSign<'_>, payload: PayloadMode) -> String {
    let signed = signer.sign(request, &payload);
    wire(
        request,
        &target(request.path, request.query),
        &[
            ("x-amz-date", &signed.amz_date),
            ("x-amz-content-sha256", &signed.content_sha256),
            ("Authorization", &signed.authorization),
        ],
    )
}

fn by_query(signer: &Signer, request: &ToSign<'_>, expires_s: u32) -> String {
    wire(request, &signer.presign(request, expires_s), &[])
}

const PUT: ToSign<'static> = ToSign {
    method: "PUT",
    path: "/bucket/a b/ä+%".as_bytes(),
    query: &[("partNumber", "1"), ("uploadId", "x/y=")],
    headers: &[("Host", "h:9000"), ("x-amz-meta-Color", "dark  red")],
};

fn try_parse(bytes: &[u8]) -> Option<(RequestHead, Query)> {
    match RequestHead::parse(bytes) {
        Ok(Parsed::Complete { head, .. }) => {
            let query = Query::parse(head.raw_query().unwrap_or_default()).ok()?;
            Some((head, query))
        }
        Ok(Parsed::Partial) | Err(_) => None,
    }
}

type Accepted = (Authenticated, PayloadAuth);

fn call_with(text: &str, rules: &Rules, now_unix_s: u64) -> Result<Accepted, S3Error> {
    let (head, query) = try_parse(text.as_bytes()).unwrap_or_else(|| panic!("no head: {text}"));
    authenticate(&head, &query, &credentials(), &mut SigningKeys::new(), rules, now_unix_s)
}

fn any_region() -> Rules {
    Rules { region: "eu-north-1".to_owned(), strict_region: RegionRule::Any }
}

fn call(text: &str) -> Result<Accepted, S3Error> {
    call_with(text, &any_region(), NOW)
}

/// `want` is the code, then the beginning of the message.
fn check(name: &str, text: &str, code: Code, message: &str) {
    match call(text) {
        Ok(_) => panic!("{name}: accepted"),
        Err(error) => {
            assert_eq!(error.code(), code, "{name}: {}", error.message());
            assert!(error.message().starts_with(message), "{name}: {}", error.message());
        }
    }
}

fn mode_of(payload: &PayloadAuth) -> PayloadMode {
    match payload {
        PayloadAuth::Unsigned => PayloadMode::Unsigned,
        PayloadAuth::Sha256(digest) => PayloadMode::Sha256(*digest),
        PayloadAuth::Chunks(signer) => match signer.trailer() {
            TrailerRule::None => PayloadMode::SignedChunks,
            TrailerRule::Signed => PayloadMode::SignedChunksTrailer,
        },
        PayloadAuth::UnsignedTrailer => PayloadMode::UnsignedTrailer,
    }
}

#[test]
fn every_mode_is_accepted_and_named() {
    for mode in ALL_MODES {
        let (authenticated, payload) = call(&by_header(&signer(NOW), &PUT, mode)).unwrap();
        assert_eq!(mode_of(&payload), mode);
        assert_eq!(authenticated.mode(), AuthMode::Header);
        assert_eq!(&*authenticated.caller().name, "root");
    }
    let (authenticated, payload) = call(&by_query(&signer(NOW), &PUT, 60)).unwrap();
    assert_eq!(mode_of(&payload), PayloadMode::Unsigned);
    assert_eq!(authenticated.mode(), AuthMode::Query);
}

/// A list of names that a head cannot have costs work for nothing, and the caller is not known yet.
#[test]
fn a_list_of_signed_headers_is_bounded() {
    let longer = |text: &str, list: &str, separator: &str, names: usize| {
        let known = list.split(separator).count();
        let more: String = (known..names).map(|number| format!("a{number:04}{separator}")).collect();
        text.replacen(list, &(more + list), 1)
    };
    let head = by_header(&signer(NOW), &PUT, PayloadMode::Unsigned);
    let head = |names| longer(&head, "host;x-amz-content-sha256;x-amz-date;x-amz-meta-color", ";", names);
    let most = RequestHead::HEADERS_MAX + 1;
    check("header, most", &head(most), Code::SignatureDoesNotMatch, "");
    let message = "The authorization header is malformed; the SignedHeaders must be at most 101";
    check("header, one more", &head(most + 1), Code::AuthorizationHeaderMalformed, message);
    let url = by_query(&signer(NOW), &PUT, 60);
    let url = |names| longer(&url, "host%3Bx-amz-meta-color", "%3B", names);
    check("query, most", &url(most), Code::SignatureDoesNotMatch, "");
    let message = "Error parsing the X-Amz-Credential parameter; the SignedHeaders must be at most 101";
    check("query, one more", &url(most + 1), Code::AuthorizationQueryParametersError, message);
}

#[test]
fn any_flipped_bit_is_refused_or_changes_nothing() {
    let mut heads: Vec<String> = ALL_MODES.map(|mode| by_header(&signer(NOW), &PUT, mode)).to_vec();
    heads.push(by_query(&signer(NOW), &PUT, 60));
    let credentials = credentials();
    let mut keys = SigningKeys::new();
    for text in heads {
        let (whole, whole_query) = try_parse(text.as_bytes()).unwrap();
        for bit in 0..text.len() * 8 {
            let mut bytes = text.clone().into_bytes();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let Some((head, query)) = try_parse(&bytes) else { continue };
            if authenticate(&head, &query, &credentials, &mut keys, &any_region(), NOW).is_ok() {
                assert_eq!(meaning(&head, &query), meaning(&whole, &whole_query), "bit {bit} of {text}");
            }
        }
    }
}

type Meaning = (String, Vec<u8>, Vec<(String, String)>, Vec<(String, Vec<u8>)>);

/// What a request says, without the case of names and of escapes.
fn meaning(head: &RequestHead, query: &Query) -> Meaning {
    (
        head.method_text().to_owned(),
        percent::decode(head.raw_path()).unwrap().into_owned(),
        query.parameters().map(|pair| (pair.name.to_owned(), pair.value.to_owned())).collect(),
        head.headers().map(|(name, value)| (name.to_ascii_lowercase(), value.to_vec())).collect(),
    )
}

#[test]
fn every_bit_of_the_signature_counts() {
    for mode in ALL_MODES {
        spoil_signature(&by_header(&signer(NOW), &PUT, mode), "Signature=");
    }
    spoil_signature(&by_query(&signer(NOW), &PUT, 60), "X-Amz-Signature=");
}

/// Each bit of the 64 digits in turn; what no longer is a head is refused below this floor.
fn spoil_signature(text: &str, label: &str) {
    let start = text.find(label).unwrap() + label.len();
    for bit in start * 8..(start + 64) * 8 {
        let mut bytes = text.as_bytes().to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let Ok(spoilt) = String::from_utf8(bytes) else { continue };
        if try_parse(spoilt.as_bytes()).is_some() {
            let error = call(&spoilt).err().unwrap_or_else(|| panic!("accepted: {spoilt}"));
            assert_eq!(error.status() / 100, 4, "{spoilt}");
            let digit = spoilt.as_bytes()[bit / 8];
            if digit.is_ascii_alphanumeric() {
                assert_eq!(error.code(), Code::SignatureDoesNotMatch, "{spoilt}");
            }
        }
    }
}

/// Name, what is replaced by what, and the code and beginning of the message that answer it.
type Defect = (&'static str, &'static str, &'static str, Code, &'static str);

// One row a line keeps the tables readable as tables.
#[rustfmt::skip]
/// Defects of a request signed in its header.
const HEADER_DEFECTS: [Defect; 32] = [
    ("no signature", "Authorization", "X-Nothing", Code::AccessDenied, "Access Denied"),
    ("SigV2", "AWS4-HMAC-SHA256 Cred", "AWS a:b Cred", Code::InvalidRequest, "The authorization mechanism"),
    ("two", "\r\n\r\n", "\r\nAuthorization: x\r\n\r\n", Code::InvalidArgument, "Only one auth mechanism"),
    ("and a query", "?", "?X-Amz-Signature=0&", Code::InvalidArgument, "Only one auth mechanism"),
    ("and a SigV2 query", "?", "?Signature=0&", Code::InvalidArgument, "Only one auth mechanism"),
    ("service", "/s3/", "/iam/", Code::AuthorizationHeaderMalformed, "The authorization header is malformed; incorrect service \"iam\""),
    ("terminator", "aws4_request", "aws4", Code::AuthorizationHeaderMalformed, "The authorization header is malformed; incorrect terminal"),
    ("other day", "/20130524/", "/20130525/", Code::AuthorizationHeaderMalformed, "The authorization header is malformed; Invalid credential date"),
    ("credential", "/20130524/", "/", Code::AuthorizationHeaderMalformed, "The authorization header is malformed; the Credential"),
    ("unsorted", "host;x-amz-content-sha256;x-amz-date;x-amz-meta-color", "x-amz-content-sha256;host;x-amz-date;x-amz-meta-color", Code::AuthorizationHeaderMalformed, "The authorization header is malformed; the SignedHeaders must be lower"),
    ("repeated", "host;x-amz-content-sha256;x-amz-date;x-amz-meta-color", "host;host;x-amz-date;x-amz-meta-color", Code::AuthorizationHeaderMalformed, "The authorization header is malformed; the SignedHeaders must be lower"),
    ("empty name", "host;x-amz-content-sha256;x-amz-date;x-amz-meta-color", "host;;x-amz-date;x-amz-meta-color", Code::AuthorizationHeaderMalformed, "The authorization header is malformed; the SignedHeaders must be lower"),
    ("no names", "host;x-amz-content-sha256;x-amz-date;x-amz-meta-color", "", Code::AuthorizationHeaderMalformed, "The authorization header is malformed; the SignedHeaders must be lower"),
    ("capitals", "host;x-amz-content-sha256;x-amz-date;x-amz-meta-color", "Host;x-amz-date;x-amz-meta-color", Code::AuthorizationHeaderMalformed, "The authorization header is malformed; the SignedHeaders must be lower"),
    ("host unsigned", "host;x-amz-content-sha256;x-amz-date;x-amz-meta-color", "x-amz-date;x-amz-meta-color", Code::AuthorizationHeaderMalformed, "The authorization header is malformed; the SignedHeaders must include host"),
    ("header unsigned", "host;x-amz-content-sha256;x-amz-date;x-amz-meta-color", "host;x-amz-date", Code::AccessDenied, "There were headers present"),
    ("header added", "\r\n\r\n", "\r\nX-Amz-Acl: private\r\n\r\n", Code::AccessDenied, "There were headers present"),
    ("signed header added", "\r\n\r\n", "\r\nx-amz-meta-color: x\r\n\r\n", Code::SignatureDoesNotMatch, ""),
    ("second date", "\r\n\r\n", "\r\nx-amz-date: 20130524T000000Z\r\n\r\n", Code::InvalidRequest, "The header x-amz-date"),
    ("second hash", "\r\n\r\n", "\r\nX-Amz-Content-SHA256: x\r\n\r\n", Code::InvalidRequest, "The header x-amz-content-sha256"),
    ("date", "x-amz-date: 2013", "x-amz-date: x013", Code::AccessDenied, "AWS authentication requires"),
    ("no date", "x-amz-date: ", "x-other: ", Code::AccessDenied, "AWS authentication requires"),
    ("no hash", "x-amz-content-sha256: ", "x-b: ", Code::InvalidRequest, "Missing required header for this request: x-amz-content-sha256"),
    ("bad hash", ": UNSIGNED-PAYLOAD", ": e3b0", Code::InvalidArgument, "x-amz-content-sha256 must be"),
    ("empty hash", ": UNSIGNED-PAYLOAD", ":", Code::InvalidArgument, "x-amz-content-sha256 must be"),
    ("unknown key", "AKIAIOSFODNN7EXAMPLE", "AKIAOTHER", Code::InvalidAccessKeyId, ""),
    ("escape in the path", "/bucket/", "/%zz/", Code::InvalidURI, ""),
    ("dot segment", "/bucket/", "/bucket/./", Code::SignatureDoesNotMatch, ""),
    ("doubled slash", "/bucket/", "//bucket/", Code::SignatureDoesNotMatch, ""),
    ("short signature", "Signature=", "Signature=0", Code::SignatureDoesNotMatch, ""),
    ("upper-case signature", "Signature=", "Signature=A", Code::SignatureDoesNotMatch, ""),
    ("no digits", "Signature=", "Signature=,Signature=", Code::AuthorizationHeaderMalformed, "The authorization header is malformed; the authorization header requires"),
];

#[rustfmt::skip]
/// Defects of a presigned request.
const QUERY_DEFECTS: [Defect; 21] = [
    ("algorithm", "AWS4-HMAC-SHA256", "AWS4-HMAC-SHA1", Code::AuthorizationQueryParametersError, "X-Amz-Algorithm only supports"),
    ("no algorithm", "X-Amz-Algorithm", "x", Code::AuthorizationQueryParametersError, "Query-string authentication version 4 requires"),
    ("no date", "X-Amz-Date", "x", Code::AuthorizationQueryParametersError, "Query-string authentication version 4 requires"),
    ("two dates", "X-Amz-Date", "X-Amz-Date=a&X-Amz-Date", Code::AuthorizationQueryParametersError, "Query-string authentication version 4 requires"),
    ("two tokens", "?", "?X-Amz-Security-Token=a&X-Amz-Security-Token=b&", Code::AuthorizationQueryParametersError, "Query-string authentication version 4 requires"),
    ("date", "T000000Z", "T000000", Code::AuthorizationQueryParametersError, "X-Amz-Date must be in the ISO8601 Long Format"),
    ("no expiry", "Expires=60", "Expires=", Code::AuthorizationQueryParametersError, "X-Amz-Expires should be a number"),
    ("over a week", "Expires=60", "Expires=604801", Code::AuthorizationQueryParametersError, "X-Amz-Expires must be less than a week"),
    ("longer", "Expires=60", "Expires=61", Code::SignatureDoesNotMatch, ""),
    ("service", "%2Fs3%2F", "%2Fsqs%2F", Code::AuthorizationQueryParametersError, "Error parsing the X-Amz-Credential parameter; incorrect service"),
    ("line feed", "us-east-1", "us%0Aeast", Code::AuthorizationQueryParametersError, "Error parsing the X-Amz-Credential parameter; the Credential"),
    ("name injected", "host%3B", "host%0Ax%3B", Code::AuthorizationQueryParametersError, "Error parsing the X-Amz-Credential parameter; the SignedHeaders"),
    ("header added", "\r\n\r\n", "\r\nx-amz-tagging: a=b\r\n\r\n", Code::AccessDenied, "There were headers present"),
    ("parameter added", "?", "?acl=&", Code::SignatureDoesNotMatch, ""),
    ("other hash", "\r\n\r\n", "\r\nx-amz-content-sha256: abababababababababababababababababababababababababababababababab\r\n\r\n", Code::SignatureDoesNotMatch, ""),
    ("bad hash", "\r\n\r\n", "\r\nx-amz-content-sha256: x\r\n\r\n", Code::InvalidArgument, "x-amz-content-sha256 must be"),
    ("streaming", "\r\n\r\n", "\r\nx-amz-content-sha256: STREAMING-UNSIGNED-PAYLOAD-TRAILER\r\n\r\n", Code::InvalidRequest, "A presigned URL"),
    ("streaming by query", "?", "?X-Amz-Content-Sha256=STREAMING-AWS4-HMAC-SHA256-PAYLOAD&", Code::InvalidRequest, "A presigned URL"),
    ("token", "?", "?X-Amz-Security-Token=&", Code::InvalidToken, ""),
    ("unknown key", "AKIAIOSFODNN7EXAMPLE", "AKIAOTHER", Code::InvalidAccessKeyId, ""),
    ("both versions", "?", "?AWSAccessKeyId=a&", Code::InvalidArgument, "Only one auth mechanism"),
];

fn check_defects(good: &str, defects: &[Defect]) {
    for (name, from, to, code, message) in defects {
        assert!(good.contains(from), "{name}: nothing to replace in {good}");
        check(name, &good.replace(from, to), *code, message);
    }
}

#[test]
fn defects_of_a_header_signature() {
    check_defects(&by_header(&signer(NOW), &PUT, PayloadMode::Unsigned), &HEADER_DEFECTS);
}

#[test]
fn defects_of_a_presigned_url() {
    let good = by_query(&signer(NOW), &PUT, 60);
    check_defects(&good, &QUERY_DEFECTS);
    let two = good.replace('?', "?X-Amz-Content-Sha256=UNSIGNED-PAYLOAD&");
    let two = two.replace("\r\n\r\n", "\r\nx-amz-content-sha256: STREAMING-AWS4-HMAC-SHA256-PAYLOAD\r\n\r\n");
    check("two payloads", &two, Code::InvalidRequest, "The X-Amz-Content-Sha256 parameter");
}

#[test]
fn requests_without_a_sigv4_signature() {
    let anonymous = "GET /a?x-id=GetObject HTTP/1.1\r\nHost: h\r\n\r\n";
    check("anonymous", anonymous, Code::AccessDenied, "Access Denied");
    let version_2 = "GET /a?AWSAccessKeyId=a&Signature=b&Expires=1 HTTP/1.1\r\nHost: h\r\n\r\n";
    check("SigV2", version_2, Code::InvalidRequest, "The authorization mechanism");
}

#[test]
fn the_hash_that_was_signed_may_be_repeated_as_a_header() {
    let good = by_query(&signer(NOW), &PUT, 60);
    let same = good.replace("\r\n\r\n", "\r\nx-amz-content-sha256: UNSIGNED-PAYLOAD\r\n\r\n");
    assert!(call(&same).is_ok());
}

#[test]
fn a_token_beside_a_long_term_key_is_refused() {
    let request = ToSign { headers: &[("Host", "h"), ("x-amz-security-token", "t")], ..PUT };
    check("signed token", &by_header(&signer(NOW), &request, PayloadMode::Unsigned), Code::InvalidToken, "");
    check("presigned", &by_query(&signer(NOW), &request, 60), Code::InvalidToken, "");
}

#[test]
fn times_of_a_header_signature() {
    let text = by_header(&signer(NOW), &PUT, PayloadMode::Unsigned);
    for (now, want) in [(-901, false), (-900, true), (900, true), (901, false)] {
        let got = call_with(&text, &any_region(), NOW.saturating_add_signed(now));
        assert_eq!(got.is_ok(), want, "{now} s after");
        if let Err(error) = got {
            assert_eq!(error.code(), Code::RequestTimeTooSkewed);
        }
    }
}

#[test]
fn times_of_a_presigned_url() {
    let text = by_query(&signer(NOW), &PUT, 60);
    let rows =
        [(-901, Some("Request is not valid yet")), (0, None), (60, None), (61, Some("Request has expired"))];
    for (now, want) in rows {
        let got = call_with(&text, &any_region(), NOW.saturating_add_signed(now));
        assert_eq!(got.as_ref().err().map(|error| error.message()), want, "{now} s after");
        if let Err(error) = got {
            assert_eq!(error.code(), Code::AccessDenied);
        }
    }
}

#[test]
fn a_date_header_serves_in_place_of_x_amz_date() {
    for date in ["Fri, 24 May 2013 00:00:00 GMT", "20130524T000000Z"] {
        let signed = signer(NOW).sign(&PUT, &PayloadMode::Unsigned);
        // The signer lists x-amz-date; sign the same request without it by way of the same canonical form.
        let list = "host;x-amz-content-sha256;x-amz-meta-color";
        let headers = [
            ("host", b"h:9000".as_slice()),
            ("x-amz-content-sha256", b"UNSIGNED-PAYLOAD"),
            ("x-amz-meta-color", b"dark red"),
        ];
        let scope = super::super::scope::Scope { day: "20130524", region: "us-east-1" };
        let request = CanonicalRequest {
            method: "PUT",
            path: PUT.path,
            query: PUT.query,
            headers: &headers,
            signed_headers: list,
            payload: "UNSIGNED-PAYLOAD",
        };
        let amz_date = super::super::amz_date::AmzDate::of_unix(i64::try_from(NOW).unwrap());
        let hash = request.sha256();
        let seed = SigningKey::derive(&Secret::new(SECRET.to_owned()), &scope)
            .sign(|mut sink| write_string_to_sign(&amz_date, &scope, &hash, &mut sink));
        let hex = String::from_utf8(super::super::canonical::hex(seed.bytes()).to_vec()).unwrap();
        let authorization = signed.authorization.split("SignedHeaders=").next().unwrap();
        let authorization = format!("{authorization}SignedHeaders={list},Signature={hex}");
        let text = wire(
            &PUT,
            &target(PUT.path, PUT.query),
            &[
                ("x-amz-content-sha256", "UNSIGNED-PAYLOAD"),
                ("Date", date),
                ("Authorization", &authorization),
            ],
        );
        assert!(call(&text).is_ok(), "{date}: {:?}", call(&text).err());
    }
}

#[test]
fn regions() {
    let configured = |region: &str| Rules { region: region.to_owned(), strict_region: RegionRule::Strict };
    let text = by_header(&signer(NOW), &PUT, PayloadMode::Unsigned);
    assert!(call_with(&text, &configured("us-east-1"), NOW).is_ok());
    let error = call_with(&text, &configured("eu-north-1"), NOW).err().unwrap();
    assert_eq!(error.code(), Code::AuthorizationHeaderMalformed);
    assert_eq!(error.elements(), [("Region", "eu-north-1".to_owned())]);
    let no_region = Signer::new(AKID, &Secret::new(SECRET.to_owned()), "", i64::try_from(NOW).unwrap());
    assert!(call(&by_header(&no_region, &PUT, PayloadMode::Unsigned)).is_ok());
    assert!(call_with(&by_query(&no_region, &PUT, 60), &configured("us-east-1"), NOW).is_err());
}

#[test]
fn a_mismatch_shows_what_was_signed_and_no_secret() {
    let text = by_header(&signer(NOW), &PUT, PayloadMode::Unsigned).replace("Signature=", "Signature=z");
    let error = call(&text).err().unwrap();
    let names: Vec<&str> = error.elements().iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["AWSAccessKeyId", "StringToSign", "SignatureProvided", "CanonicalRequest"]);
    let canonical = &error.elements()[3].1;
    assert_eq!(
        canonical,
        "PUT\n/bucket/a%20b/%C3%A4%2B%25\npartNumber=1&uploadId=x%2Fy%3D\nhost:h:9000\n\
         x-amz-content-sha256:UNSIGNED-PAYLOAD\nx-amz-date:20130524T000000Z\nx-amz-meta-color:dark red\n\n\
         host;x-amz-content-sha256;x-amz-date;x-amz-meta-color\nUNSIGNED-PAYLOAD"
    );
    assert!(
        error.elements()[1]
            .1
            .starts_with("AWS4-HMAC-SHA256\n20130524T000000Z\n20130524/us-east-1/s3/aws4_request\n")
    );
    assert!(!format!("{error:?}{error}").contains(SECRET));
}

#[test]
fn the_cache_changes_no_answer() {
    let (credentials, mut keys) = (credentials(), SigningKeys::new());
    let good = by_header(&signer(NOW), &PUT, PayloadMode::Unsigned);
    let texts = [good.clone(), good.replace("Signature=", "Signature=0"), good.replace(AKID, "AKIAOTHER")];
    let wants = [None, Some(Code::SignatureDoesNotMatch), Some(Code::InvalidAccessKeyId)];
    for _ in 0..3 {
        for (text, want) in texts.iter().zip(wants) {
            let (head, query) = try_parse(text.as_bytes()).unwrap();
            let got = authenticate(&head, &query, &credentials, &mut keys, &any_region(), NOW);
            assert_eq!(got.err().map(|error| error.code()), want);
        }
    }
}

#[test]
fn another_secret_does_not_match() {
    let other = Signer::new(AKID, &Secret::new("other".to_owned()), "us-east-1", i64::try_from(NOW).unwrap());
    check("header", &by_header(&other, &PUT, PayloadMode::Unsigned), Code::SignatureDoesNotMatch, "");
    check("query", &by_query(&other, &PUT, 60), Code::SignatureDoesNotMatch, "");
    let decoy = Secret::new(String::from_utf8(credentials().decoy().bytes().to_vec()).unwrap());
    let stranger = Signer::new("AKIAOTHER", &decoy, "us-east-1", i64::try_from(NOW).unwrap());
    check("decoy", &by_header(&stranger, &PUT, PayloadMode::Unsigned), Code::InvalidAccessKeyId, "");
}

proptest! {
    #[test]
    fn no_claim_made_up_is_accepted(
        authorization in "(AWS4-HMAC-SHA256 )?((Credential|SignedHeaders|Signature)=[ -~]{0,20},? ?){0,4}",
        query in "((X-Amz-(Algorithm|Credential|Date|Expires|SignedHeaders|Signature)|Signature)=[!-\"$-~]{0,12}&?){0,7}",
    ) {
        let by_header = format!("GET /a HTTP/1.1\r\nHost: h\r\nAuthorization: {authorization}\r\n\r\n");
        let by_query = format!("GET /a?{query} HTTP/1.1\r\nHost: h\r\n\r\n");
        for text in [by_header, by_query] {
            let Some((head, query)) = try_parse(text.as_bytes()) else { continue };
            let got = authenticate(&head, &query, &credentials(), &mut SigningKeys::new(), &any_region(), NOW);
            prop_assert!(got.err().is_some_and(|error| error.status() / 100 == 4), "{}", text);
        }
    }

    #[test]
    fn what_is_signed_is_accepted(
        path in proptest::collection::vec(any::<u8>(), 0..20),
        query in proptest::collection::vec(("[a-z +&=%ä/-]{1,6}", "\\PC{0,8}"), 0..6),
        value in "[!-~]([ -~]{0,12}[!-~])?",
    ) {
        let pairs: Vec<(&str, &str)> = query.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let path = [b"/", &path[..]].concat();
        let request = ToSign { method: "GET", path: &path, query: &pairs, headers: &[("host", "h"), ("X-Amz-Meta-B", &value)] };
        let signer = signer(NOW);
        prop_assert!(call(&by_header(&signer, &request, PayloadMode::Unsigned)).is_ok());
        prop_assert!(call(&by_query(&signer, &request, 604_800)).is_ok());
    }
}
