//! The http floor's errors as S3 errors, converted here at the floor's edge and nowhere else.
//! Their words become the message; the status of the row is the status that the http floor names.
//! After any of them the connection closes; that is the server's to do.
//! Source: Amazon S3 API reference, "List of error codes"; RFC 9110 section 15.

use crate::http::chunked::ChunkedError;
use crate::http::framing::FramingError;
use crate::http::head::HeadError;
use crate::s3::error::{Code, S3Error};

impl From<HeadError> for S3Error {
    fn from(error: HeadError) -> S3Error {
        let code = match error {
            HeadError::TooLarge | HeadError::TooManyHeaders => Code::RequestHeaderSectionTooLarge,
            HeadError::Target => Code::InvalidURI,
            HeadError::UnsupportedVersion => Code::HTTPVersionNotSupported,
            HeadError::LineEnd
            | HeadError::FoldedLine
            | HeadError::ControlByte
            | HeadError::RequestLine
            | HeadError::HeaderName => Code::BadRequest,
        };
        S3Error::new(code).with_message(error.to_string())
    }
}

impl From<FramingError> for S3Error {
    fn from(error: FramingError) -> S3Error {
        let code = match error {
            FramingError::Coding => Code::NotImplemented,
            FramingError::Expectation => Code::ExpectationFailed,
            FramingError::LengthAndCoding
            | FramingError::SeveralLengths
            | FramingError::Length
            | FramingError::CodingOfHttp10
            | FramingError::HostCount
            | FramingError::Host => Code::BadRequest,
        };
        S3Error::new(code).with_message(error.to_string())
    }
}

impl From<ChunkedError> for S3Error {
    fn from(error: ChunkedError) -> S3Error {
        let code = match error {
            ChunkedError::Trailer => Code::MalformedTrailerError,
            ChunkedError::Size | ChunkedError::LineEnd | ChunkedError::Extension => Code::BadRequest,
        };
        S3Error::new(code).with_message(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(error: S3Error, status: u16, message: String) {
        assert_eq!((error.status(), error.message()), (status, message.as_str()), "{error}");
    }

    #[test]
    fn statuses_are_those_of_the_http_floor() {
        let heads = [
            HeadError::TooLarge,
            HeadError::TooManyHeaders,
            HeadError::LineEnd,
            HeadError::FoldedLine,
            HeadError::ControlByte,
            HeadError::RequestLine,
            HeadError::Target,
            HeadError::UnsupportedVersion,
            HeadError::HeaderName,
        ];
        for error in heads {
            check(error.into(), error.status(), error.to_string());
        }
        let framings = [
            FramingError::LengthAndCoding,
            FramingError::SeveralLengths,
            FramingError::Length,
            FramingError::Coding,
            FramingError::CodingOfHttp10,
            FramingError::HostCount,
            FramingError::Host,
            FramingError::Expectation,
        ];
        for error in framings {
            check(error.into(), error.status(), error.to_string());
        }
        for error in
            [ChunkedError::Size, ChunkedError::LineEnd, ChunkedError::Extension, ChunkedError::Trailer]
        {
            check(error.into(), 400, error.to_string());
        }
    }
}
