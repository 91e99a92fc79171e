//! What the claims of a token must say, once its signature is known to be good.
//!
//! Pure: the caller brings the time.
//! Never: sees a key, a signature, or a token as a whole.

use super::jose::{Json, Members, Twice};
use super::refusal::Refusal;
use crate::model::Namespace;

/// Which claims count. `iat` never does; `aud` and `iss` only when a value is wanted.
#[derive(Debug)]
pub(super) struct ClaimRules {
    pub(super) namespace: Box<str>,
    pub(super) audience: Option<Box<str>>,
    pub(super) issuer: Option<Box<str>>,
}

/// What a good token is good for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Verified {
    pub(super) namespace: Namespace,
    /// Last second since 1970 in which it is, leeway included; none without an expiry.
    pub(super) until: Option<i64>,
}

/// Seconds by which the clocks of an issuer and of this registry may differ.
const LEEWAY: i64 = 5;

// === impl ClaimRules ===

impl ClaimRules {
    /// The namespace that the claims name, when they hold at `now` (seconds since 1970).
    pub(super) fn judge(&self, claims: &Members, now: i64) -> Result<Verified, Refusal> {
        let until = match claims.get("exp")? {
            None => None,
            Some(exp) => Some(seconds(exp).ok_or(Refusal::ExpUnreadable)?.saturating_add(LEEWAY)),
        };
        if until.is_some_and(|until| until < now) {
            return Err(Refusal::Expired);
        }
        if let Some(nbf) = claims.get("nbf")?
            && now.saturating_add(LEEWAY) < seconds(nbf).ok_or(Refusal::NbfUnreadable)?
        {
            return Err(Refusal::NotYetValid);
        }
        self.check_issuer(claims)?;
        self.check_audience(claims)?;
        Ok(Verified { namespace: self.namespace(claims)?, until })
    }

    fn check_issuer(&self, claims: &Members) -> Result<(), Refusal> {
        let Some(wanted) = &self.issuer else { return Ok(()) };
        match claims.get("iss")? {
            None => Err(Refusal::IssuerMissing),
            Some(iss) if iss.as_text() == Some(wanted) => Ok(()),
            Some(_) => Err(Refusal::IssuerOther),
        }
    }

    /// `aud` is one text or a list of them.
    fn check_audience(&self, claims: &Members) -> Result<(), Refusal> {
        let Some(wanted) = &self.audience else { return Ok(()) };
        let holds = match claims.get("aud")?.ok_or(Refusal::AudienceMissing)? {
            Json::Text(aud) => **aud == **wanted,
            Json::Texts(all) => all.iter().any(|aud| **aud == **wanted),
            Json::Number(_) | Json::Other => false,
        };
        if holds { Ok(()) } else { Err(Refusal::AudienceOther) }
    }

    fn namespace(&self, claims: &Members) -> Result<Namespace, Refusal> {
        let claim = claims.get(&self.namespace)?.ok_or(Refusal::NamespaceMissing)?;
        match claim.as_text() {
            None => Err(Refusal::NamespaceNotText),
            Some("") => Err(Refusal::NamespaceEmpty),
            Some(name) => name.parse().map_err(|_| Refusal::NamespaceTooLong),
        }
    }
}

impl From<Twice> for Refusal {
    fn from(Twice: Twice) -> Self {
        Self::ClaimTwice
    }
}

/// Whole seconds of a number of any size; what is beyond the range is its end.
fn seconds(value: &Json) -> Option<i64> {
    let Json::Number(number) = value else { return None };
    match (number.as_i64(), number.is_u64()) {
        (Some(whole), _) => Some(whole),
        (None, true) => Some(i64::MAX),
        // From floating point, `as` stays within the range.
        (None, false) => number.as_f64().map(|fraction| fraction.floor() as i64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_000_000;

    fn rules(audience: Option<&str>, issuer: Option<&str>) -> ClaimRules {
        ClaimRules {
            namespace: "namespace".into(),
            audience: audience.map(Into::into),
            issuer: issuer.map(Into::into),
        }
    }

    fn judge(rules: &ClaimRules, claims: &str) -> Result<Verified, Refusal> {
        rules.judge(&Members::parse(claims.as_bytes()).expect("is an object"), NOW)
    }

    #[test]
    fn times_are_checked_with_five_seconds_of_leeway() {
        let good = |until| Ok(until);
        for (times, want) in [
            ("", good(None)),
            (r#""iat":9999999999,"#, good(None)),
            (r#""exp":1000000,"#, good(Some(1_000_005))),
            (r#""exp":999995,"#, good(Some(1_000_000))),
            (r#""exp":999995.9,"#, good(Some(1_000_000))),
            (r#""exp":999994,"#, Err(Refusal::Expired)),
            (r#""exp":999994.999,"#, Err(Refusal::Expired)),
            (r#""exp":0,"#, Err(Refusal::Expired)),
            (r#""exp":-1,"#, Err(Refusal::Expired)),
            (r#""exp":-1e300,"#, Err(Refusal::Expired)),
            (r#""exp":-9223372036854775808,"#, Err(Refusal::Expired)),
            (r#""exp":9223372036854775807,"#, good(Some(i64::MAX))),
            (r#""exp":18446744073709551615,"#, good(Some(i64::MAX))),
            (r#""exp":99999999999999999999999,"#, good(Some(i64::MAX))),
            (r#""exp":1e300,"#, good(Some(i64::MAX))),
            (r#""exp":"2000000","#, Err(Refusal::ExpUnreadable)),
            (r#""exp":null,"#, Err(Refusal::ExpUnreadable)),
            (r#""exp":true,"#, Err(Refusal::ExpUnreadable)),
            (r#""exp":[2000000],"#, Err(Refusal::ExpUnreadable)),
            (r#""exp":2000000,"exp":2000000,"#, Err(Refusal::ClaimTwice)),
            (r#""nbf":1000005,"#, good(None)),
            (r#""nbf":1000005.5,"#, good(None)),
            (r#""nbf":1000006,"#, Err(Refusal::NotYetValid)),
            (r#""nbf":1e300,"#, Err(Refusal::NotYetValid)),
            (r#""nbf":18446744073709551615,"#, Err(Refusal::NotYetValid)),
            (r#""nbf":-1e300,"#, good(None)),
            (r#""nbf":-9223372036854775808,"#, good(None)),
            (r#""nbf":"0","#, Err(Refusal::NbfUnreadable)),
            (r#""nbf":null,"#, Err(Refusal::NbfUnreadable)),
            (r#""nbf":0,"nbf":0,"#, Err(Refusal::ClaimTwice)),
        ] {
            let claims = format!(r#"{{{times}"namespace":"acme"}}"#);
            let got = judge(&rules(None, None), &claims).map(|verified| verified.until);
            assert_eq!(got, want, "{claims}");
        }
    }

    #[test]
    fn the_namespace_is_text_of_1_to_256_bytes() {
        let (long, too_long) = ("n".repeat(256), "n".repeat(257));
        for (claims, want) in [
            (r#"{"namespace":"acme"}"#.to_owned(), Ok("acme")),
            (r#"{"namespace":"\u00e9 b"}"#.to_owned(), Ok("é b")),
            (r#"{"user":"x"}"#.to_owned(), Err(Refusal::NamespaceMissing)),
            (r#"{"Namespace":"x"}"#.to_owned(), Err(Refusal::NamespaceMissing)),
            (r#"{"namespace":""}"#.to_owned(), Err(Refusal::NamespaceEmpty)),
            (r#"{"namespace":7}"#.to_owned(), Err(Refusal::NamespaceNotText)),
            (r#"{"namespace":null}"#.to_owned(), Err(Refusal::NamespaceNotText)),
            (r#"{"namespace":["acme"]}"#.to_owned(), Err(Refusal::NamespaceNotText)),
            (r#"{"namespace":{"a":"b"}}"#.to_owned(), Err(Refusal::NamespaceNotText)),
            (r#"{"namespace":"a","namespace":"b"}"#.to_owned(), Err(Refusal::ClaimTwice)),
            (r#"{"namespace":"a","n\u0061mespace":"b"}"#.to_owned(), Err(Refusal::ClaimTwice)),
            (format!(r#"{{"namespace":"{long}"}}"#), Ok(long.as_str())),
            (format!(r#"{{"namespace":"{too_long}"}}"#), Err(Refusal::NamespaceTooLong)),
        ] {
            let got = judge(&rules(None, None), &claims).map(|verified| verified.namespace.to_string());
            assert_eq!(got.as_deref(), want.as_ref().copied(), "{claims}");
        }
    }

    #[test]
    fn audience_and_issuer_count_when_they_are_configured() {
        for (rest, want) in [
            (r#""aud":"reg","iss":"us""#, Ok(())),
            (r#""aud":["x","reg"],"iss":"us""#, Ok(())),
            (r#""iss":"us""#, Err(Refusal::AudienceMissing)),
            (r#""aud":"other","iss":"us""#, Err(Refusal::AudienceOther)),
            (r#""aud":[],"iss":"us""#, Err(Refusal::AudienceOther)),
            (r#""aud":[7,["reg"]],"iss":"us""#, Err(Refusal::AudienceOther)),
            (r#""aud":{"reg":1},"iss":"us""#, Err(Refusal::AudienceOther)),
            (r#""aud":"reg","aud":"reg","iss":"us""#, Err(Refusal::ClaimTwice)),
            (r#""aud":"reg""#, Err(Refusal::IssuerMissing)),
            (r#""aud":"reg","iss":"them""#, Err(Refusal::IssuerOther)),
            (r#""aud":"reg","iss":["us"]"#, Err(Refusal::IssuerOther)),
        ] {
            let claims = format!(r#"{{"namespace":"a",{rest}}}"#);
            assert_eq!(judge(&rules(Some("reg"), Some("us")), &claims).map(|_| ()), want, "{claims}");
        }
        assert!(judge(&rules(None, None), r#"{"namespace":"a","aud":7,"iss":[]}"#).is_ok());
    }
}
