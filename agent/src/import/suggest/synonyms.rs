//! What columns, states and choices are called elsewhere: in English, Chinese, German, French and Spanish.
//!
//! `~` marks a word that is only a hint, and a field that the words only perhaps mean. Our own names and labels are not
//! repeated here. Words stand as `words::normal` leaves a header: lower case, no accents, `no` for any kind of number.

/// A field's path, `kind.field` or `kind.group#1.field` (`site`, `state`, `number`, `occurred_at` and `note_text` are
/// every kind's), and the words for it.
pub(super) struct Concept {
    pub(super) fields: &'static [&'static str],
    pub(super) words: &'static [&'static str],
}

const fn concept(fields: &'static [&'static str], words: &'static [&'static str]) -> Concept {
    Concept { fields, words }
}

#[rustfmt::skip]
pub(super) const CONCEPTS: &[Concept] = &[
    // Every document.
    concept(&["number"], &["id", "no", "order no", "order id", "order", "work order", "work order no", "repair order",
        "repair order no", "repair id", "ro no", "job no", "job card", "job card no", "ticket", "ticket no", "ticket id",
        "case no", "case id", "document no", "service order", "service order no", "record id", "record no", "id ords",
        "工单号", "维修工单号", "单号", "单据号", "单据编号", "编号", "工单编号", "工单", "委托书号", "维修单号", "服务单号",
        "订单号", "订单编号", "流水号", "记录号", "~序号", "auftrag", "auftragsnummer", "auftrags no", "vorgang",
        "vorgangsnummer", "belegnummer", "commande", "no de commande", "orden", "no de orden"]),
    concept(&["occurred_at"], &["~date", "~time", "event date", "order date", "invoice date", "transaction date",
        "movement date", "posting date", "document date", "created", "created at", "created on", "creation date",
        "date created", "date opened", "open date", "opened", "opened at", "opened date", "timestamp", "survey date",
        "~repair date", "~日期", "~时间", "开单日期", "开单时间", "制单日期", "单据日期", "业务日期", "发生时间", "发生日期", "出入库日期",
        "出库日期", "入库日期", "创建日期", "创建时间", "下单日期", "下单时间", "~维修日期", "调查日期", "~datum", "belegdatum", "buchungsdatum",
        "auftragsdatum", "erstellt", "erstellt am", "date de commande", "~fecha"]),
    concept(&["site"], &["site", "site id", "site name", "outlet", "outlet id", "outlet name", "store", "store id",
        "store no", "store name", "shop", "station", "station id", "service station", "branch", "dealer", "dealer code",
        "depot", "workshop", "garage", "repair shop", "service center", "service centre", "group identifier",
        "~country", "~region", "~city", "~group", "~location", "~plant",
        "网点", "网点名称", "网点编号", "门店", "门店名称", "店名", "店铺", "服务站", "服务站名称", "服务网点", "维修站", "维修点",
        "站点", "站名", "经销商", "分公司", "机构", "营业部", "营业厅", "支局", "~国家", "~地区", "~城市", "filiale", "standort",
        "niederlassung", "werkstatt", "betrieb", "~land", "agence", "atelier", "point de vente", "~pays", "sucursal",
        "taller", "tienda", "~pais"]),
    concept(&["state"], &["status", "state", "order status", "ticket status", "progress", "状态", "工单状态", "单据状态",
        "订单状态", "处理状态", "当前状态", "进度", "zustand", "bearbeitungsstand", "statut", "etat", "estado"]),
    concept(&["note_text"], &["remark", "remarks", "note", "notes", "memo", "备注", "说明", "bemerkung", "bemerkungen",
        "remarque", "observaciones"]),

    // Repairs.
    concept(&["repair_order.vin"], &["vin", "vin no", "vin code", "chassis", "chassis no", "frame no",
        "vehicle identification no", "车架号", "车架号码", "底盘号", "大架号", "车辆识别代号", "车辆识别码", "fahrgestell",
        "fahrgestellnummer", "fahrgestell no", "fin", "no de chassis", "chasis", "bastidor"]),
    concept(&["repair_order.plate"], &["plate", "plate no", "license plate", "licence plate", "registration",
        "registration no", "reg no", "vehicle no", "车牌", "车牌号", "车牌号码", "牌照", "牌照号", "车号", "kennzeichen",
        "amtliches kennzeichen", "immatriculation", "plaque", "matricula"]),
    concept(&["repair_order.model"], &["model", "model name", "vehicle model", "car model", "product model", "车型", "型号",
        "机型", "产品型号", "modell", "fahrzeugmodell", "typ", "modele", "modelo"]),
    concept(&["repair_order.engine_no"], &["engine no", "motor no", "发动机号", "发动机号码", "motornummer"]),
    concept(&["repair_order.sale_date"], &["sale date", "date of sale", "purchase date", "first registration",
        "warranty start", "销售日期", "购车日期", "购买日期", "购机日期", "erstzulassung", "kaufdatum"]),
    concept(&["repair_order.odometer"], &["mileage", "odometer", "km", "kms", "kilometers", "kilometres", "mileage in",
        "odometer in", "km reading", "odometer reading", "里程", "里程数", "公里数", "公里", "行驶里程", "进厂里程", "表显里程",
        "kilometerstand", "km stand", "laufleistung", "kilometrage", "kilometraje"]),
    concept(&["repair_order.odometer_out"], &["mileage out", "odometer out", "出厂里程"]),
    concept(&["repair_order.category"], &["category", "product category", "product type", "product group", "appliance",
        "device", "device type", "equipment", "equipment type", "asset type", "~product", "产品类别", "产品类型", "品类",
        "设备类型", "设备名称", "~产品名称", "~类别", "warengruppe", "produktgruppe", "gerat", "gerateart", "kategorie",
        "categorie", "appareil", "categoria"]),
    concept(&["repair_order.brand"], &["brand", "make", "manufacturer", "品牌", "厂牌", "厂家", "marke", "hersteller",
        "marque", "marca"]),
    concept(&["repair_order.serial", "~repair_order.part#1.serial"], &["serial", "serial no", "sn", "imei", "序列号",
        "机身号", "出厂编号", "串号", "seriennummer"]),
    concept(&["repair_order.year"], &["year", "year of manufacture", "model year", "build year", "制造年份", "生产年份",
        "出厂年份", "年份", "baujahr", "ano"]),
    concept(&["repair_order.customer", "stock_movement.partner", "~delivery_item.addressee", "~survey.subject"],
        &["customer", "customer name", "customer id", "customer no", "customer code", "client", "client name", "owner",
        "客户", "客户名称", "客户姓名", "客户编号", "客户代码", "车主", "车主姓名", "送修人", "用户", "用户姓名", "~姓名", "kunde",
        "kundenname", "kundennummer", "nom du client", "cliente"]),
    concept(&["repair_order.phone"], &["phone", "phone no", "telephone", "tel", "tel no", "mobile", "mobile no",
        "cell phone", "contact no", "电话", "电话号码", "手机", "手机号", "手机号码", "联系电话", "联系方式", "telefon",
        "telefonnummer", "handy", "handynummer", "portable", "telefono"]),
    concept(&["repair_order.supplier", "~stock_movement.partner", "~delivery_item.sender"], &["supplier", "vendor",
        "供应商", "供货商", "厂商", "lieferant", "fournisseur", "proveedor"]),
    concept(&["repair_order.slot"], &["appointment", "appointment date", "booking date", "预约时间", "预约日期", "termin"]),
    concept(&["repair_order.checked_in_at"], &["check in", "check in date", "check in time", "checked in", "date in",
        "in date", "received", "received at", "received on", "received date", "date received", "reported", "reported at",
        "reported date", "date reported", "arrival date", "drop off date", "进厂日期", "进厂时间",
        "进站时间", "进站日期", "接车日期", "接车时间", "送修日期", "送修时间", "报修日期", "报修时间", "受理日期", "受理时间", "annahme",
        "annahmedatum", "eingangsdatum", "date d entree"]),
    concept(&["repair_order.pre_inspection"], &["pre inspection", "inspection", "初检", "初检结果", "预检", "外观检查"]),
    concept(&["repair_order.promised_at"], &["promised", "promise date", "promised date", "promised time", "~due date",
        "estimated completion", "承诺交车", "承诺交车时间", "预计交车时间", "约定交车时间", "预交车时间", "预计完工时间",
        "fertigstellungstermin", "abholtermin"]),
    concept(&["repair_order.consent_by"], &["consent by", "approved by", "确认人"]),
    concept(&["repair_order.technician"], &["technician", "mechanic", "repairer", "engineer", "assigned to", "技师",
        "维修技师", "维修工", "维修人员", "主修人", "修理工", "工程师", "monteur", "mechaniker", "techniker", "mecanicien",
        "mecanico"]),
    concept(&["repair_order.failed_at"], &["failure date", "fault date", "breakdown date", "故障时间", "故障日期", "损坏日期",
        "schadensdatum"]),
    concept(&["repair_order.symptom"], &["symptom", "problem", "problem description", "complaint", "customer complaint",
        "fault description", "failure description", "defect description", "issue", "~description", "故障现象", "故障描述",
        "客户描述", "报修内容", "报修故障", "问题描述", "~维修内容", "fehlerbeschreibung", "beanstandung", "schadensbild",
        "~beschreibung", "panne", "problema", "averia"]),
    concept(&["repair_order.causal_part"], &["causal part", "failed part", "faulty part", "祸首件", "故障件", "主因件"]),
    concept(&["repair_order.fault"], &["fault", "fault code", "fault type", "failure code", "failure mode", "error code",
        "dtc", "defect code", "故障代码", "故障码", "故障类型", "故障类别", "故障分类", "fehlercode", "fehlerart", "code defaut"]),
    concept(&["repair_order.outcome"], &["outcome", "result", "repair result", "repair outcome", "repair status", "结果",
        "维修结果", "处理结果", "修复情况", "ergebnis", "reparaturstatus", "resultat", "resultado"]),
    concept(&["repair_order.reason"], &["repair barrier", "repair barrier if end of life", "barrier",
        "reason not repaired", "未修复原因", "未修原因"]),
    concept(&["repair_order.qc_result"], &["qc", "qc result", "quality check", "inspection result", "检验结果", "质检结果",
        "完工检验"]),
    concept(&["repair_order.released_at"], &["release date", "released", "date out", "out date", "pick up date",
        "picked up", "completed", "completed at", "completed on", "completed date", "date completed", "completion date",
        "closed at", "closed date", "close date", "date closed",
        "finish date", "提车时间", "提车日期", "交车时间", "交车日期", "出厂日期", "出厂时间", "出站日期", "出站时间", "取机日期", "完工日期", "完工时间", "完成日期",
        "完成时间", "竣工日期", "~结算日期", "abholdatum", "abgeholt am", "fertigstellungsdatum"]),
    concept(&["repair_order.labour#1.operation"], &["operation", "labour", "labor", "工时项目", "维修项目", "作业项目",
        "arbeitsposition"]),
    concept(&["repair_order.labour#1.hours"], &["hours", "labour hours", "labor hours", "man hours", "工时", "工时数",
        "arbeitsstunden", "stunden"]),
    concept(&["repair_order.labour#1.rate"], &["hourly rate", "labour rate", "labor rate", "工时单价", "stundensatz"]),

    // Goods: moved, counted, built in, delivered.
    concept(&["stock_movement.item", "count_sheet.item#1.item", "repair_order.part#1.part", "~delivery_item.item"],
        &["sku", "stock code", "item", "item code", "item no", "item id", "part", "part no", "part code", "spare part",
        "material", "material no", "material code", "product code", "product id", "product no", "article", "article no",
        "~ref", "~reference", "物料", "物料编码", "物料编号", "物料号", "料号", "零件号", "零件编号", "配件", "配件号", "配件编码",
        "备件号", "图号", "货号", "商品编码", "商品编号", "存货编码", "产品编码", "产品编号", "artikel", "artikelnummer", "artikel no",
        "materialnummer", "teilenummer", "ersatzteilnummer", "codigo"]),
    concept(&["stock_movement.description", "delivery_item.item"], &["description", "item description", "item name",
        "product", "product name", "product description", "part name", "part description", "material name",
        "material description", "~name", "goods", "contents", "commodity", "名称", "品名", "物料名称", "物料描述", "商品名称",
        "货物名称", "配件名称", "零件名称", "产品名称", "存货名称", "内件", "内件品名", "货物", "bezeichnung",
        "artikelbezeichnung", "beschreibung", "inhalt", "designation", "libelle", "descripcion"]),
    concept(&["stock_movement.quantity", "delivery_item.quantity", "~repair_order.part#1.quantity",
        "~count_sheet.item#1.counted"], &["quantity", "qty", "pieces", "pcs", "units", "数量", "件数", "出库数量", "入库数量",
        "发货数量", "领用数量", "变动数量", "menge", "anzahl", "stuck", "quantite", "qte", "cantidad"]),
    concept(&["stock_movement.unit_cost", "count_sheet.item#1.unit_cost", "repair_order.part#1.price"],
        &["unit cost", "cost price", "单位成本", "成本单价", "成本价", "进价", "~price", "~unit price", "~cost", "~单价", "~价格",
        "~成本", "einstandspreis", "~preis", "~einzelpreis", "~stuckpreis", "~prix", "~prix unitaire", "~precio"]),
    concept(&["delivery_item.value", "~repair_order.other#1.amount"], &["value", "amount", "total", "total amount",
        "total value", "declared value", "goods value", "金额", "总金额", "价值", "声明价值", "保价金额", "货值", "betrag",
        "warenwert", "montant", "importe"]),
    concept(&["stock_movement.location", "count_sheet.item#1.location", "~repair_order.part#1.location"], &["location",
        "bin", "bin location", "storage location", "storage bin", "shelf", "warehouse", "库位", "货位", "仓位", "储位", "库房",
        "仓库", "仓库名称", "lager", "lagerort", "lagerplatz", "emplacement", "almacen", "ubicacion"]),
    concept(&["stock_movement.lot", "count_sheet.item#1.lot"], &["lot", "lot no", "batch", "batch no", "批次", "批号",
        "批次号", "charge", "chargennummer", "lote"]),
    concept(&["stock_movement.reason"], &["movement type", "transaction type", "~type", "出入库类型", "业务类型", "移动类型",
        "变动类型", "单据类型", "事由", "~类型", "bewegungsart", "buchungsart", "~art"]),
    concept(&["stock_movement.source_document"], &["invoice", "invoice no", "invoice id", "receipt no", "voucher no",
        "delivery note", "source document", "~document no", "~order no", "来源单号", "关联单号", "发票号", "发票号码", "凭证号",
        "出库单号", "入库单号", "rechnungsnummer", "lieferschein", "lieferscheinnummer", "~belegnummer", "facture", "factura"]),
    concept(&["count_sheet.zone"], &["zone", "area", "区域", "盘点区域"]),
    concept(&["count_sheet.counter"], &["counter", "counted by", "盘点人", "盘点员"]),
    concept(&["count_sheet.item#1.counted"], &["counted", "counted qty", "counted quantity", "actual qty",
        "actual quantity", "physical count", "count", "实盘数", "实盘数量", "盘点数", "盘点数量", "实际数量", "istmenge",
        "istbestand"]),
    concept(&["count_sheet.item#1.expected"], &["expected", "expected qty", "book qty", "book quantity", "system qty",
        "system quantity", "on hand", "账面数", "账面数量", "系统数量", "sollmenge", "sollbestand", "buchbestand"]),

    // Deliveries.
    concept(&["delivery_item.barcode", "delivery_run.item#1.barcode"], &["barcode", "tracking", "tracking no",
        "tracking id", "waybill", "waybill no", "awb", "awb no", "parcel no", "shipment no", "shipment id",
        "consignment no", "mail no", "条码", "条形码", "运单号", "快递单号", "邮件号", "邮件号码", "面单号", "物流单号",
        "sendungsnummer", "sendungs no", "sendung", "paketnummer", "no de suivi"]),
    concept(&["delivery_item.class"], &["class", "mail class", "mail type", "parcel type", "邮件种类", "邮件类型", "业务种类",
        "sendungsart", "~art"]),
    concept(&["delivery_item.route", "delivery_run.route"], &["route", "route no", "delivery route", "shipment mode",
        "ship mode", "段道", "线路", "路线", "路段", "运输方式", "tour", "tournummer", "ruta", "tournee"]),
    concept(&["delivery_item.addressee"], &["addressee", "recipient", "recipient name", "consignee", "receiver", "ship to",
        "收件人", "收件人姓名", "收货人", "收件单位", "empfanger", "destinataire", "destinatario"]),
    concept(&["delivery_item.address"], &["address", "delivery address", "recipient address", "street", "地址", "收件地址",
        "收货地址", "详细地址", "adresse", "anschrift", "strasse", "lieferadresse", "direccion"]),
    concept(&["delivery_item.due_at"], &["due", "due at", "due date", "deadline", "scheduled delivery",
        "scheduled delivery date", "expected delivery", "expected delivery date", "promised delivery date",
        "requested delivery date", "required date", "target date", "sla", "eta", "时限", "应妥投", "应妥投时间", "应妥投日期", "应妥投时限", "应投", "应投时间", "应投日期",
        "应投时限", "应派时间", "应派日期", "应派时限", "应到", "应到时间", "应到日期", "应送达", "应送达时间", "应送达日期", "要求到货日期", "预计送达时间", "约定送达时间", "承诺时限", "截止时间", "liefertermin", "wunschtermin",
        "solltermin", "fallig", "fallig am", "date prevue", "livraison prevue", "fecha prevista"]),
    concept(&["delivery_item.delivered_at", "~repair_order.released_at"], &["delivered", "delivered at", "delivered on",
        "delivered date", "delivery date", "delivery time", "date delivered", "actual delivery", "actual delivery date",
        "delivered to client date", "pod date", "妥投", "妥投时间", "妥投日期", "签收时间", "签收日期", "送达时间",
        "实际送达时间", "投递时间", "lieferdatum", "zugestellt", "zugestellt am", "zustelldatum", "livre le",
        "date de livraison", "fecha de entrega"]),
    concept(&["delivery_item.recorded_at"], &["recorded", "recorded at", "recorded date", "delivery recorded date",
        "entry date", "scan time", "录入时间", "录入日期", "登记时间", "erfasst", "erfasst am", "erfassungsdatum"]),
    concept(&["delivery_item.signed_by"], &["signed by", "received by", "签收人", "代收人"]),
    concept(&["delivery_item.receipt_required"], &["receipt required", "pod required", "须回执", "是否回执", "ruckschein"]),
    concept(&["delivery_item.receipt_due_at"], &["receipt due", "receipt due date", "回执时限"]),
    concept(&["delivery_item.receipt_returned_at"], &["receipt returned", "receipt returned date", "回执寄回时间",
        "回单返回时间"]),
    concept(&["delivery_item.sender"], &["sender", "shipper", "consignor", "寄件人", "发件人", "寄件单位", "发货人", "发货方",
        "absender", "expediteur", "remitente"]),
    concept(&["delivery_item.reference"], &["reference", "reference no", "ref no", "customer reference", "dn no", "asn no",
        "~po no", "~so no", "~order no", "参考号", "客户订单号", "原单号", "referenz", "bestellnummer"]),
    concept(&["delivery_item.attempt#1.tried_at"], &["attempt date", "attempt time", "attempted at", "试投时间"]),
    concept(&["delivery_item.attempt#1.result"], &["attempt result", "delivery result", "投递结果"]),
    concept(&["delivery_item.attempt#1.reason"], &["failure reason", "non delivery reason", "未妥投原因"]),
    concept(&["delivery_run.carrier"], &["carrier", "courier", "driver", "postman", "投递员", "快递员", "邮递员", "送货员",
        "司机", "fahrer", "zusteller", "chauffeur", "repartidor"]),
    concept(&["delivery_run.vehicle"], &["vehicle", "truck", "车辆", "fahrzeug"]),

    // Surveys.
    concept(&["survey.form"], &["form", "questionnaire", "survey", "survey name", "问卷", "问卷名称", "fragebogen"]),
    concept(&["survey.subject"], &["subject", "respondent", "对象", "被访人", "受访者"]),
    concept(&["survey.score"], &["score", "rating", "nps", "csat", "satisfaction", "得分", "分数", "评分", "满意度", "打分",
        "bewertung", "puntuacion"]),
    concept(&["survey.weight"], &["weight", "权重"]),
    concept(&["survey.comment"], &["comment", "comments", "feedback", "suggestion", "意见", "建议", "评价", "评论", "意见建议",
        "kommentar", "commentaire", "comentario"]),
    concept(&["survey.answer#1.question"], &["question", "问题", "题目"]),
    concept(&["survey.answer#1.answer"], &["answer", "回答", "答案"]),
];

/// Other names of states and choices.
#[rustfmt::skip]
pub(super) const MEANINGS: &[(&str, &[&str])] = &[
    ("booked", &["预约", "appointment", "termin"]),
    ("checked_in", &["已进厂", "已受理", "received", "angenommen"]),
    ("assigned", &["已分配", "已派单"]),
    ("working", &["在修", "修理中", "施工中", "处理中", "in progress", "in repair", "wip", "in arbeit", "en cours"]),
    ("qc", &["待检验", "质检中"]),
    ("declined", &["已取消", "取消", "cancelled", "canceled", "storniert"]),
    ("released", &["已交车", "已出厂", "已取机", "已取车", "picked up", "abgeholt"]),
    ("closed", &["已完成", "完成", "已完工", "已结案", "已结算", "完结", "completed", "complete", "done", "finished",
        "abgeschlossen", "erledigt", "termine", "cerrado"]),
    ("at_site", &["已到件", "待投递", "待派送", "arrived", "in depot"]),
    ("out", &["派送中", "配送中", "运输中", "in transit", "unterwegs"]),
    ("attempted", &["未妥投", "派送失败", "attempt failed", "failed attempt"]),
    ("delivered", &["已签收", "签收", "已妥投", "已投递", "已送达", "zugestellt", "livre", "entregado"]),
    ("undeliverable", &["退回", "已退回", "returned", "returned to sender", "retoure"]),
    ("cancelled", &["已取消", "取消", "撤回", "canceled", "storniert"]),
    ("void", &["已作废", "voided", "deleted"]),
    ("fixed", &["修复", "修好", "已修好", "已维修", "repaired", "ok", "repariert", "behoben", "repare", "reparado"]),
    ("repairable", &["可维修", "待修", "reparabel", "reparierbar"]),
    ("end_of_life", &["无法修复", "不可修复", "not repairable", "unrepairable", "irreparable", "nicht reparierbar"]),
    ("unknown", &["未知", "不详", "unbekannt", "inconnu"]),
    ("pass", &["通过", "ok", "passed", "bestanden"]),
    ("fail", &["未通过", "failed", "nicht bestanden"]),
    ("receipt", &["收货", "采购入库", "purchase receipt", "wareneingang", "zugang"]),
    ("issue", &["出库", "领料", "发料", "consumption", "warenausgang", "abgang"]),
    ("sale", &["销售出库", "sold", "sales", "verkauf"]),
    ("return", &["退货入库", "returned", "retoure"]),
    ("transfer", &["移库", "调拨出库", "调拨入库", "umlagerung"]),
    ("count_adjustment", &["盘盈", "盘亏", "adjustment", "inventory adjustment", "inventurdifferenz"]),
    ("scrap", &["报废出库", "scrapped", "verschrottung"]),
    ("letter", &["信件", "brief"]),
    ("parcel", &["包件", "package", "paket"]),
    ("express", &["快递", "特快", "ems"]),
    ("absent", &["不在家", "无人签收", "not at home", "nicht angetroffen"]),
    ("refused", &["拒绝签收", "annahme verweigert"]),
];

/// Name parts of columns that hold people, or what leads to them: their cells are never shown.
#[rustfmt::skip]
pub(super) const PERSONAL: &[&str] = &[
    "name", "customer", "client", "owner", "person", "contact", "phone", "telephone", "tel", "mobile", "cell", "fax", "email",
    "mail", "e mail", "address", "street", "zip", "birth", "birthday", "passport", "ssn", "vin", "chassis", "frame no",
    "plate", "registration", "driver", "recipient", "addressee", "consignee", "sender", "receiver", "signed", "signature",
    "user", "member", "employee", "technician", "mechanic", "iban", "account", "card", "imei", "wechat", "password", "token",
    "姓名", "客户", "车主", "用户", "会员", "联系", "电话", "手机", "邮箱", "地址", "身份证", "证件", "生日", "车架", "底盘", "车牌",
    "牌照", "识别", "收件", "寄件", "发件", "签收", "司机", "投递员", "技师", "送修人", "微信", "账号", "银行", "密码", "人员", "经办",
    "kunde", "kundenname", "inhaber", "halter", "ansprechpartner", "telefon", "telefonnummer", "handy", "handynummer",
    "anschrift", "adresse", "strasse", "plz", "geburtsdatum", "kennzeichen", "fahrgestellnummer", "fin", "fahrer",
    "empfanger", "absender", "nom", "prenom", "telephone", "courriel", "nombre", "apellido", "telefono", "direccion", "correo",
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use waystation_protocol::kind;
    use waystation_protocol::value::Type;

    use super::*;

    #[test]
    fn the_table_names_only_fields_that_exist() {
        for concept in CONCEPTS {
            for field in concept.fields {
                let path = field.trim_start_matches('~');
                let known = match path.split_once('.') {
                    None => ["site", "state", "number", "occurred_at", "note_text"].contains(&path),
                    Some((kind, key)) => kind::find(kind).is_some_and(|kind| kind.field_at(key).is_some()),
                };
                assert!(known, "{field}");
            }
        }
    }

    #[test]
    fn meanings_are_of_states_and_choices_that_exist() {
        let mut known = BTreeSet::from(["void"]);
        for kind in kind::KINDS {
            known.extend(kind.states.iter().map(|state| state.name));
            for field in kind.fields.iter().chain(kind.lines.iter().flat_map(|lines| lines.fields)) {
                if let Type::Choice(choices) = field.ty {
                    known.extend(choices.iter().map(|choice| choice.name));
                }
            }
        }
        for (name, _) in MEANINGS {
            assert!(known.contains(name), "{name}");
        }
    }

    #[test]
    fn words_stand_as_headers_are_compared() {
        for word in CONCEPTS.iter().flat_map(|concept| concept.words) {
            let word = word.trim_start_matches('~');
            assert_eq!(super::super::words::normal(word), word);
        }
    }
}
