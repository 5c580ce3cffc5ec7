//! OpenID providers of an account.

use super::write::Xml;
use super::{Answer, Call, QueryError};
use crate::cut;
use crate::rights::Right;
use drystone_base::{Timestamp, warn_limited};
use drystone_identity::{
    EntityArn, EntityKind, IdentityError, NewOpenIdProvider, OpenIdProvider, openid_provider_of_url,
};
use std::collections::BTreeSet;

pub(super) async fn run(call: &Call<'_>, action: &str) -> Option<Answer> {
    Some(match action {
        "CreateOpenIDConnectProvider" => create(call).await,
        "GetOpenIDConnectProvider" => get(call),
        "ListOpenIDConnectProviders" => call.actor.scan(|| list(call)).await,
        "DeleteOpenIDConnectProvider" => delete(call).await,
        "UpdateOpenIDConnectProviderThumbprint" => update_thumbprint(call).await,
        "AddClientIDToOpenIDConnectProvider" => change_client(call, action).await,
        "RemoveClientIDFromOpenIDConnectProvider" => change_client(call, action).await,
        "TagOpenIDConnectProvider" | "UntagOpenIDConnectProvider" => tag(call, action).await,
        "ListOpenIDConnectProviderTags" => list_tags(call),
        _ => return None,
    })
}

fn invalid(message: &str) -> QueryError {
    QueryError::new("InvalidInput", 400, message)
}

/// The name of the provider that the call names, if the caller may do this to it.
fn named<'c>(call: &'c Call<'_>, action: &str) -> Result<&'c str, QueryError> {
    let text = call.parameters.need("OpenIDConnectProviderArn")?;
    match EntityArn::openid_provider_name(call.account(), text) {
        Some(name) => {
            call.require(action, &call.arn(EntityKind::OpenIdProvider, name)?)?;
            Ok(name)
        }
        None => {
            call.require(action, &call.actor.all(EntityKind::OpenIdProvider))?;
            let message = format!("{} is invalid", cut(text));
            Err(QueryError::validation(message))
        }
    }
}

/// What IAM calls invalid input, where other operations have a validation error.
fn input(error: IdentityError) -> QueryError {
    match error {
        IdentityError::Invalid { message, .. } => invalid(&message),
        error => error.into(),
    }
}

async fn create(call: &Call<'_>) -> Answer {
    let url = call.parameters.need("Url")?;
    let name = openid_provider_of_url(url);
    let arn = match &name {
        Some(name) => call.arn(EntityKind::OpenIdProvider, name)?,
        None => call.actor.all(EntityKind::OpenIdProvider),
    };
    call.require("CreateOpenIDConnectProvider", &arn)?;
    let (clients, thumbprints) =
        (call.parameters.list("ClientIDList"), call.parameters.list("ThumbprintList"));
    let tags = call.parameters.tags()?;
    if !tags.is_empty() {
        call.actor.refuse_denied(Right::TagOpenIdConnectProvider, &arn)?;
    }
    let issuer = name.as_deref().and_then(|name| call.federation.issuer(name));
    // Without encryption only where the operator says so.
    let is_plain = issuer.is_some_and(|issuer| issuer.config.issuer.starts_with("http://"));
    if name.is_none() || !(url.starts_with("https://") || is_plain) {
        return Err(invalid("Invalid Open ID Connect Provider URL"));
    }
    let clients: BTreeSet<String> = clients.into_iter().collect();
    let new = NewOpenIdProvider { url: url.to_owned(), clients, thumbprints, tags: tags.clone() };
    let made = call.changes()?.create_openid_provider(call.account(), new).await.map_err(input)?;
    if issuer.is_none() {
        let shown = cut(&made.name).to_owned();
        warn_limited!(
            "an OpenID provider of an account does not act: --openid-issuers does not name it";
            shown
        );
    }
    let mut xml = Xml::new();
    xml.text("OpenIDConnectProviderArn", &made.arn());
    if !tags.is_empty() {
        xml.tags(&tags);
    }
    Ok(xml)
}

fn get(call: &Call<'_>) -> Answer {
    let name = named(call, "GetOpenIDConnectProvider")?;
    let provider = call.actor.directory.openid_provider(call.account(), name)?;
    let mut xml = Xml::new();
    xml.text("Url", &provider.name);
    xml.texts("ClientIDList", provider.clients.iter().map(String::as_str));
    xml.texts("ThumbprintList", provider.thumbprints.iter().map(String::as_str));
    xml.text("CreateDate", &Timestamp(provider.created_ms).to_iso());
    xml.tags(&provider.tags);
    Ok(xml)
}

fn list(call: &Call<'_>) -> Answer {
    call.require("ListOpenIDConnectProviders", &call.actor.all(EntityKind::OpenIdProvider))?;
    let providers = call.actor.directory.openid_providers(call.account())?;
    let mut xml = Xml::new();
    xml.members("OpenIDConnectProviderList", &providers, |xml, arn| {
        xml.text("Arn", arn);
    });
    Ok(xml)
}

async fn delete(call: &Call<'_>) -> Answer {
    let name = named(call, "DeleteOpenIDConnectProvider")?;
    call.changes()?.delete_openid_provider(call.account(), name).await?;
    Ok(Xml::new())
}

async fn change(
    call: &Call<'_>,
    name: &str,
    change: impl FnOnce(&mut OpenIdProvider) -> Result<(), IdentityError> + Send + 'static,
) -> Answer {
    let changed = call.changes()?.change_openid_provider(call.account(), name, change).await;
    changed.map_err(input)?;
    Ok(Xml::new())
}

async fn update_thumbprint(call: &Call<'_>) -> Answer {
    let name = named(call, "UpdateOpenIDConnectProviderThumbprint")?;
    let thumbprints = call.parameters.list("ThumbprintList");
    if thumbprints.is_empty() {
        call.parameters.need("ThumbprintList")?;
    }
    change(call, name, move |provider| {
        provider.thumbprints = thumbprints;
        Ok(())
    })
    .await
}

async fn change_client(call: &Call<'_>, action: &str) -> Answer {
    let name = named(call, action)?;
    let client = call.parameters.need("ClientID")?.to_owned();
    let adds = action.starts_with("Add");
    change(call, name, move |provider| {
        match adds {
            true => provider.clients.insert(client),
            false => provider.clients.remove(&client),
        };
        Ok(())
    })
    .await
}

async fn tag(call: &Call<'_>, action: &str) -> Answer {
    let name = named(call, action)?;
    let tags = call.tag_change(action)?;
    change(call, name, move |provider| tags.apply(&mut provider.tags)).await
}

fn list_tags(call: &Call<'_>) -> Answer {
    let name = named(call, "ListOpenIDConnectProviderTags")?;
    let provider = call.actor.directory.openid_provider(call.account(), name)?;
    call.tags_page(&provider.tags)
}
