//! Whether a bucket policy is public (S3 User Guide, "The meaning of 'public'").

use crate::condition::Condition;
use crate::document::Document;
use crate::network::Network;
use crate::principal::PrincipalPattern;
use crate::statement::{Effect, Either, Statement};

/// Keys whose fixed values make a statement for everyone one for someone.
const NARROWING: &[&str] = &[
    "aws:sourcearn",
    "aws:sourcevpc",
    "aws:sourcevpce",
    "aws:sourceowner",
    "aws:sourceaccount",
    "aws:principalorgid",
    "aws:principalaccount",
    "aws:userid",
    "s3:x-amz-server-side-encryption-aws-kms-key-id",
];

/// The same in the policy of a bucket. Each request through an access point has them, so that they narrow
/// nothing in its own policy.
const NARROWING_BUCKETS: &[&str] = &["s3:dataaccesspointarn", "s3:dataaccesspointaccount"];

/// Whether a condition holds for fixed values only of a key that narrows, other than the address.
fn narrows(condition: &Condition, is_of_point: bool) -> bool {
    let key = condition.key();
    let is_key = NARROWING.contains(&key) || (!is_of_point && NARROWING_BUCKETS.contains(&key));
    is_key && condition.fixed_values().is_some()
}

/// The networks that a condition holds for, if these together are narrow.
fn networks(condition: &Condition) -> Option<Vec<Network>> {
    if condition.key() != "aws:sourceip" {
        return None;
    }
    let values = condition.fixed_values()?.iter();
    let all: Vec<_> = values.map(|value| Network::parse(value.text())).collect::<Option<_>>()?;
    Network::are_narrow(&all).then_some(all)
}

impl Statement {
    /// Whether it allows something to everybody, from some address at least.
    fn is_for_everyone(&self, is_of_point: bool) -> bool {
        let for_everyone = match &self.principals {
            Some(Either::In(patterns)) => patterns.iter().any(PrincipalPattern::is_everyone),
            Some(Either::NotIn(_)) => true,
            None => false,
        };
        let is_narrow = || self.conditions.iter().any(|c| narrows(c, is_of_point));
        self.effect == Effect::Allow && for_everyone && !is_narrow()
    }
}

impl Document {
    /// Whether it allows something to everybody: to more addresses than are narrow, by all of its statements
    /// together.
    #[must_use]
    pub fn is_public(&self) -> bool {
        let mut all = Vec::new();
        let is_of_point = self.is_of_point;
        for statement in self.statements.iter().filter(|s| s.is_for_everyone(is_of_point)) {
            match statement.conditions.iter().find_map(networks) {
                Some(networks) => all.extend(networks),
                None => return true,
            }
        }
        !Network::are_narrow(&all)
    }
}

#[cfg(test)]
mod tests {
    use crate::{Document, DocumentKind};

    /// Goal: what every request through an access point has narrows the policies of buckets only.
    #[test]
    fn conditions_on_access_points_narrow_policies_of_buckets_only() {
        const POINT: &str = "arn:aws:s3:us-east-1:000000000000:accesspoint/team";
        let open = Vec::from([
            r#"{"StringEquals":{"s3:DataAccessPointAccount":"000000000000"}}"#.to_owned(),
            r#"{"StringEquals":{"S3:dataaccesspointaccount":["000000000000"]}}"#.to_owned(),
            format!(r#"{{"ArnEquals":{{"s3:DataAccessPointArn":"{POINT}"}}}}"#),
            format!(r#"{{"StringEquals":{{"s3:DataAccessPointArn":"{POINT}"}}}}"#),
        ]);
        let narrow = r#"{"StringEquals":{"s3:DataAccessPointAccount":"000000000000",
            "aws:PrincipalAccount":"111111111111"}}"#;
        let all = open.iter().map(|text| (text.as_str(), true)).chain([(narrow, false)]);
        for (condition, is_public) in all {
            let text = |resource: &str| {
                format!(
                    r#"{{"Version":"2012-10-17","Statement":{{"Effect":"Allow","Principal":"*",
                    "Action":"s3:GetObject","Resource":"{resource}","Condition":{condition}}}}}"#
                )
            };
            let of_bucket = Document::parse(&text("arn:aws:s3:::b/*"), DocumentKind::Bucket("b"));
            assert!(!of_bucket.expect(condition).is_public(), "{condition}");
            let text = text(&format!("{POINT}/object/*"));
            let of_point = Document::parse(&text, DocumentKind::AccessPoint(POINT));
            assert_eq!(of_point.expect(condition).is_public(), is_public, "{condition}");
        }
    }

    /// Goal: a policy is judged by the addresses that it lets in, by all values and statements together.
    #[test]
    fn all_values_and_statements_are_judged_together() {
        let ip =
            |operator: &str, nets: &str| format!(r#"{{"{operator}":{{"aws:SourceIp":{nets}}}}}"#);
        let halves: Vec<String> = (0..256).map(|first| format!(r#""{first}.0.0.0/8""#)).collect();
        let halves = format!("[{}]", halves.join(","));
        for (conditions, expected) in [
            (vec![ip("IpAddress", r#""8.0.0.0/8""#)], false),
            (vec![ip("IpAddress", r#"["8.0.0.0/8","10.0.0.0/8"]"#)], false),
            (vec![ip("IpAddress", r#"["8.0.0.0/8","9.0.0.0/8"]"#)], true),
            (vec![ip("IpAddress", r#""8.0.0.0/8""#), ip("IpAddress", r#""9.0.0.0/8""#)], true),
            (vec![ip("IpAddress", r#""8.0.0.0/8""#), ip("IpAddress", r#""8.1.0.0/16""#)], false),
            (vec![ip("IpAddress", &halves)], true),
            (vec![ip("IpAddress", r#""::ffff:0.0.0.0/96""#)], true),
            (vec![ip("IpAddress", r#""::ffff:0:0/33""#)], true),
            (vec![ip("NotIpAddress", r#""8.0.0.0/8""#)], true),
            (vec![ip("IpAddressIfExists", r#""8.0.0.0/8""#)], true),
            (vec![ip("ForAllValues:IpAddress", r#""8.0.0.0/8""#)], true),
            (vec![r#"{"StringLike":{"aws:userid":"*"}}"#.to_owned()], true),
            (vec![r#"{"StringEquals":{"aws:userid":["AIDA1","AIDA2"]}}"#.to_owned()], false),
            (vec![r#"{"StringNotEquals":{"aws:userid":"AIDA1"}}"#.to_owned()], true),
            (vec!["{}".to_owned()], true),
        ] {
            let statements = conditions.iter().map(|condition| {
                format!(
                    r#"{{"Effect":"Allow","Principal":"*","Action":"s3:GetObject",
                    "Resource":"arn:aws:s3:::b/*","Condition":{condition}}}"#
                )
            });
            let statements = statements.collect::<Vec<_>>().join(",");
            let text = format!(r#"{{"Version":"2012-10-17","Statement":[{statements}]}}"#);
            let document = Document::parse(&text, DocumentKind::Bucket("b")).expect(&text);
            assert_eq!(document.is_public(), expected, "{text:.300}");
        }
    }
}
