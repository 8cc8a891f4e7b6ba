//! One claim on its whole way, as people at two outlets and at the hub take it: submitted, returned with a remark on one field,
//! submitted again, approved; its old part comes back, a part is lent by another outlet, and the station is settled with.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use waystation_protocol::document::Document;
use waystation_protocol::document::capture::Wish;
use waystation_protocol::id::DocId;
use waystation_protocol::time::Timestamp;
use waystation_protocol::value::Value;

use crate::outlet::Outlet;
use crate::sample::fields;
use crate::stage::Stage;

/// How long one party waits to hear of what another did.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often it looks.
const LOOK: Duration = Duration::from_millis(20);
const HOUR_MS: i64 = 3_600_000;
const REVIEWER: &str = "赵敏";

/// The documents of the story, in the order in which they were opened.
#[derive(Debug)]
pub(crate) struct Told {
    /// Of each its kind and id.
    pub(crate) documents: Vec<(&'static str, DocId)>,
}

/// Tells it; the networks must be plugged in.
pub(crate) async fn tell(stage: &Stage) -> anyhow::Result<Told> {
    let (station, lender) = (&stage.outlets[0], &stage.outlets[2]);
    let (claim, part) = claimed(stage, station).await?;
    part_comes_back(stage, station, part).await?;
    let transfer = part_is_lent(stage, station, lender).await?;
    let settlement = settled(stage, station).await?;
    let documents = vec![("claim", claim), ("old_part", part), ("part_transfer", transfer), ("settlement", settlement)];
    Ok(Told { documents })
}

/// The claim and its old part, once it is approved.
async fn claimed(stage: &Stage, station: &Outlet) -> anyhow::Result<(DocId, DocId)> {
    let now = station.now();
    let past = Value::Int(now.0 - HOUR_MS);
    let seen = [("checked_in_at", past.clone()), ("pre_inspection", "外观完好".into()), ("category", "车".into())];
    let order =
        station.take(None, "repair_order", "check_in", fields(seen.into_iter().chain([("symptom", "异响".into())])))?;
    let claim = station.take(None, "claim", "draft", fields(draft(order, now)))?;
    let tag = [("claim", id(claim)), ("part", "水泵".into()), ("tag_no", "T-0001".into()), ("removed_at", past)];
    let part = station.take(None, "old_part", "tag", fields(tag))?;
    station.take(Some(claim), "claim", "submit", fields([("part#1.old_part", id(part))]))?;
    decide(stage, claim, "submitted", "review", []).await?;
    let remark = [("field", "odometer"), ("code", "wrong"), ("comment", "里程与照片不符")];
    let remark = remark.map(|(name, text)| (["remark#1.", name].concat(), Value::from(text)));
    decide(stage, claim, "reviewing", "return", remark).await?;
    hears(station, claim, |claim| claim.state == "returned").await?;
    station.take(Some(claim), "claim", "edit", fields([("odometer", Value::Int(8_900))]))?;
    station.take(Some(claim), "claim", "resubmit", fields([]))?;
    decide(stage, claim, "submitted", "review", []).await?;
    let granted = [("part#1.granted", Value::measured(36_000, "CNY")), ("part#1.disposition", "maker".into())];
    decide(stage, claim, "reviewing", "approve", granted.map(|(name, value)| (name.to_owned(), value))).await?;
    Ok((claim, part))
}

fn draft(order: DocId, now: Timestamp) -> Vec<(&'static str, Value)> {
    vec![
        ("variant", "ordinary".into()),
        ("repair_order", id(order)),
        ("vin", "LJCPCBLCX11000237".into()),
        ("model", "致远 2.0".into()),
        ("sale_date", Value::Int(now.0.div_euclid(24 * HOUR_MS) - 200)),
        ("odometer", Value::Int(9_800)),
        ("customer", "王芳".into()),
        ("failed_at", Value::Int(now.0 - 2 * HOUR_MS)),
        ("symptom", "水泵异响，冷却液渗漏".into()),
        ("causal_part", "水泵".into()),
        ("fault", "C11".into()),
        ("severity", "major".into()),
        ("supplier", "东明泵业".into()),
        ("part#1.part", "水泵".into()),
        ("part#1.quantity", Value::measured(1_000, "件")),
        ("part#1.price", Value::measured(36_000, "CNY")),
        ("part#1.source", "stock".into()),
        ("part#1.coverage", "warranty".into()),
    ]
}

async fn part_comes_back(stage: &Stage, station: &Outlet, part: DocId) -> anyhow::Result<()> {
    // the approval's directive is a note on it
    hears(station, part, |part| !part.notes.is_empty()).await?;
    station.take(Some(part), "old_part", "box", fields([("box_no", "B-01".into())]))?;
    station.take(Some(part), "old_part", "ship", fields([("waybill", "SF100200".into())]))?;
    decide(stage, part, "shipped", "receive", []).await?;
    decide(stage, part, "received", "write_off", [("write_off_no".to_owned(), "H-01".into())]).await
}

async fn part_is_lent(stage: &Stage, station: &Outlet, lender: &Outlet) -> anyhow::Result<DocId> {
    let two = || Value::measured(2_000, "件");
    let need_by = Value::Int(station.now().0 + 24 * HOUR_MS);
    let asked = [("part", "水泵".into()), ("quantity", two()), ("need_by", need_by)];
    let transfer = station.take(None, "part_transfer", "request", fields(asked))?;
    let assigned = [("source".to_owned(), lender.site.as_str().into()), ("approved".to_owned(), two())];
    decide(stage, transfer, "requested", "assign", assigned).await?;
    hears(lender, transfer, |transfer| transfer.state == "assigned").await?;
    lender.take(Some(transfer), "part_transfer", "accept", fields([]))?;
    lender.take(
        Some(transfer),
        "part_transfer",
        "ship",
        fields([("shipped", two()), ("waybill", "SF100201".into())]),
    )?;
    hears(station, transfer, |transfer| transfer.state == "shipped").await?;
    station.take(Some(transfer), "part_transfer", "receive", fields([("received", two())]))?;
    decide(stage, transfer, "received", "close", []).await?;
    Ok(transfer)
}

async fn settled(stage: &Stage, station: &Outlet) -> anyhow::Result<DocId> {
    let today = station.now().0.div_euclid(24 * HOUR_MS);
    let set = [("site", station.site.as_str().into()), ("period", "本月".into()), ("until", Value::Int(today + 1))];
    let generated = tokio::task::block_in_place(|| act(stage, None, "settlement", "generate", fields(set)))?;
    let settlement = generated.id;
    decide(stage, settlement, "generated", "issue", []).await?;
    let issued = hears(station, settlement, |settlement| settlement.state == "issued").await?;
    let due = issued.fields.get("total").cloned().context("a settlement has a total")?;
    station.take(Some(settlement), "settlement", "confirm", fields([("invoice_no", "FP-0001".into())]))?;
    decide(stage, settlement, "confirmed", "pay", [("paid".to_owned(), due)]).await?;
    decide(stage, settlement, "paid", "close", []).await?;
    Ok(settlement)
}

fn id(document: DocId) -> Value {
    Value::Text(document.to_string())
}

/// The hub acts once it has the document in a state.
async fn decide(
    stage: &Stage,
    document: DocId,
    state: &str,
    name: &str,
    set: impl IntoIterator<Item = (String, Value)>,
) -> anyhow::Result<()> {
    wait(|| Ok(stage.hub_store().document(document)?.is_some_and(|found| found.state == state))).await?;
    tokio::task::block_in_place(|| act(stage, Some(document), "", name, set.into_iter().collect())).map(drop)
}

fn act(
    stage: &Stage,
    document: Option<DocId>,
    kind: &str,
    name: &str,
    set: std::collections::BTreeMap<String, Value>,
) -> anyhow::Result<Document> {
    let wish = Wish { document, kind: kind.into(), act: name.into(), set, author: REVIEWER.into(), cause: None };
    let patience_ms = u64::try_from(PATIENCE.as_millis())?;
    stage.hub_store().act(wish, None, patience_ms).map_err(|error| anyhow::anyhow!("{name} at the hub: {error:?}"))
}

/// An outlet waits for what others did.
async fn hears(outlet: &Outlet, document: DocId, holds: impl Fn(&Document) -> bool) -> anyhow::Result<Document> {
    wait(|| Ok(outlet.store().document(document)?.is_some_and(|found| holds(&found)))).await?;
    outlet.store().document(document)?.context("a document does not go away")
}

async fn wait(holds: impl Fn() -> anyhow::Result<bool>) -> anyhow::Result<()> {
    let began = Instant::now();
    while !holds()? {
        if began.elapsed() > PATIENCE {
            bail!("one party of the claim's story did not hear of another within {PATIENCE:?}");
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}
