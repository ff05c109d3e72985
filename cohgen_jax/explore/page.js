"use strict";
// What the server answers is put in place as text; names that Plotly draws are escaped (`plain`).
(() => {
  const SHOWN = 24; // features of a plot
  const about = JSON.parse(document.getElementById("about").textContent);
  const $ = (id) => document.getElementById(id);
  const state = { look: null, tables: null, patient: null, settings: {}, modality: null, maps: null };
  const plain = (text) =>
    String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
  const element = (tag, text, more = {}) =>
    Object.assign(document.createElement(tag), { textContent: text }, more);
  const options = (select, pairs, chosen) => {
    select.replaceChildren(...pairs.map(([value, text]) => element("option", text, { value })));
    if (pairs.some(([value]) => value === chosen)) select.value = chosen;
  };
  const settings = {
    responsive: true, displaylogo: false,
    modeBarButtons: [["zoom2d", "pan2d", "resetScale2d", "toImage"]],
    toImageButtonOptions: { format: "svg" },
  };

  // --- asking -------------------------------------------------------------------------------
  let asked = 0;
  const look = async () => {
    const mine = ++asked;
    $("busy").hidden = false;
    $("error").hidden = true;
    const question = { patient: state.patient, settings: state.settings, tables: state.tables };
    let answer;
    try {
      const response = await fetch("look", {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify(question),
      });
      answer = await response.json();
    } catch (error) {
      answer = { error: "The server does not answer: is cohgen explore still running?" };
    }
    if (mine !== asked) return; // another patient was chosen meanwhile
    $("busy").hidden = true;
    if (answer.error) {
      $("error").textContent = answer.error;
      $("error").hidden = false;
      return;
    }
    state.look = answer;
    state.patient = answer.id;
    show();
  };

  // --- choosing -----------------------------------------------------------------------------
  const listPatients = () => {
    const words = $("search").value.toLowerCase().split(/\s+/).filter(Boolean);
    const side = $("side").value;
    const fit = about.patients.filter(
      (p) => (!side || p.side === side) &&
        words.every((word) => `${p.id} ${p.type}`.toLowerCase().includes(word)),
    );
    options($("patients"), fit.map((p) => [p.id, p.type ? `${p.id} · ${p.type}` : p.id]), state.patient);
    if (!fit.some((p) => p.id === state.patient)) $("patients").selectedIndex = -1;
    $("count").textContent = `${fit.length} of ${about.patients.length} samples`;
  };
  const choose = (id) => {
    Object.assign(state, { patient: id, tables: null, settings: {} });
    $("uploaded").hidden = true;
    history.replaceState(null, "", `#${encodeURIComponent(id)}`);
    look();
  };
  if (about.patients.length) {
    const sides = [...new Set(about.patients.map((p) => p.side))].sort();
    options($("side"), [["", "all"], ...sides.map((s) => [s, s])], "test");
    $("search").addEventListener("input", listPatients);
    $("side").addEventListener("change", listPatients);
    $("patients").addEventListener("change", () => choose($("patients").value));
    listPatients();
  }
  $("upload").addEventListener("click", async () => {
    const tables = {};
    for (const input of document.querySelectorAll("#files input"))
      if (input.files.length) tables[input.dataset.table] = await input.files[0].text();
    if (!Object.keys(tables).length) {
      $("error").textContent = "Choose a file for one assay at least.";
      $("error").hidden = false;
      return;
    }
    Object.assign(state, { tables, patient: null, settings: {} });
    if ($("patients")) $("patients").selectedIndex = -1;
    look();
  });
  $("uploaded").addEventListener("change", () => {
    Object.assign(state, { patient: $("uploaded").value, settings: {} });
    look();
  });

  const named = decodeURIComponent(location.hash.slice(1));
  if (about.patients.some((p) => p.id === named)) {
    if ($("side")) $("side").value = "";
    state.patient = named;
    listPatients();
    setTimeout(() => choose(named));
  }

  // --- showing ------------------------------------------------------------------------------
  const show = () => {
    const it = state.look;
    $("empty").hidden = true;
    $("patient").hidden = false;
    $("who").textContent = it.id + (it.side ? ` (${it.side})` : " (new)");
    $("facts").textContent = it.facts.map(([name, value]) => `${name}: ${value}`).join(" · ");
    $("seen").hidden = it.side !== "train";
    $("notes").replaceChildren(...(it.notes || []).map((note) => element("li", note)));
    if (it.ids) {
      options($("uploaded"), it.ids.map((id) => [id, id]), it.id);
      $("uploaded").hidden = it.ids.length < 2;
    }
    const names = it.modalities.map((m) => m.name);
    const lacking = it.modalities.find((m) => !m.present && m.generated);
    if (!names.includes(state.modality)) state.modality = (lacking || it.modalities[0]).name;
    options($("modality"), names.map((n) => [n, n]), state.modality);
    showCards();
    showCovariates();
    showValues();
    showAsIf();
    showNear();
  };
  const percent = (share) =>
    share < 0.005 ? "< 1 %" : share > 0.995 ? "> 99 %" : `${Math.round(100 * share)} %`;
  const certainty = (m) => {
    if (!m.generated) return ["nothing else to generate it from"];
    const lines = [`from ${m.sources}`];
    if (m.spread_rank != null)
      lines.push(`draws narrower than those of ${percent(1 - m.spread_rank)} of validation patients`);
    if (m.disagreement != null) lines.push(`disagreement of the models ${m.disagreement.toFixed(2)}`);
    if (m.inside) lines.push(`${m.inside.inside} of ${m.inside.of} measured values in their 80 % intervals`);
    return lines;
  };
  const warnings = (m) => {
    const lines = [];
    if (m.flagged) lines.push("Flagged: unusually unsure");
    if (m.typicality && m.typicality.unusual)
      lines.push(`Measured assay is unusual (typicality ${m.typicality.p})`);
    return lines;
  };
  const showCards = () => {
    const cards = state.look.modalities.map((m) => {
      const card = element("button", "", { type: "button", className: "card" });
      card.setAttribute("aria-pressed", String(m.name === state.modality));
      card.append(
        element("strong", m.name),
        element("span", m.present ? "measured, and generated beside" : "not measured: generated"),
        ...certainty(m).map((line) => element("span", line, { className: "soft" })),
        ...warnings(m).map((line) => element("span", line, { className: "warn" })),
      );
      card.addEventListener("click", () => pick(m.name));
      return card;
    });
    $("cards").replaceChildren(...cards);
  };
  const pick = (name) => {
    state.modality = name;
    $("modality").value = name;
    showCards();
    showValues();
    showAsIf();
    showNear();
  };
  $("modality").addEventListener("change", () => pick($("modality").value));
  $("order").addEventListener("input", () => (state.order = $("order").value));
  for (const id of ["order", "filter", "scale"]) $(id).addEventListener("input", () => showValues());

  const current = () => state.look.modalities.find((m) => m.name === state.modality);
  const has = (values) => values.some((v) => v !== null);
  const orders = (m) => [
    ...(has(m.measured) && m.generated ? [["order", "furthest from what is generated"]] : []),
    ["by_unusual", "most unusual among patients"],
    ["table", "as in the table"],
    ...(m.by_change ? [["by_change", "most changed below"]] : []),
  ];
  const chosenFeatures = (m) => {
    const part = $("filter").value.trim().toLowerCase();
    const order = m[$("order").value] || m.features.map((_, i) => i);
    return order.filter((i) => !part || m.features[i].toLowerCase().includes(part)).slice(0, SHOWN);
  };

  // Values on the scale that was chosen: units, or the usual range as -1 .. 1 about its middle.
  const scaled = (m, i, value) => {
    if (value === null || $("scale").value === "units") return value;
    const half = (m.usual_high[i] - m.usual_low[i]) / 2;
    return half > 0 ? (value - m.usual[i]) / half : null;
  };
  const segments = (ends, y) => ({
    x: ends.flatMap(([low, high]) => [low, high, null]),
    y: ends.flatMap((_, k) => [y[k], y[k], null]),
  });
  const trace = (name, more) => ({
    type: "scatter", mode: "markers", name, hoverinfo: "skip", cliponaxis: false, ...more,
  });
  const layout = (changes) => ({ ...structuredClone(about.layout), ...changes });
  const axis = (side, changes) => ({ ...about.layout[side], ...changes });
  const featureAxis = (names) => axis("yaxis", {
    type: "category", categoryorder: "array", categoryarray: [...names].reverse(), title: { text: "" },
    tickfont: { size: 12 }, range: [-0.7, names.length - 0.3],
  });
  const valueAxis = (m, onlyBinary, usual) => axis("xaxis", {
    title: { text: onlyBinary ? "probability" : usual ? "80 % of training patients lie within ±1"
      : plain(m.unit || "units of the table") },
    zeroline: usual, ...(onlyBinary && !usual ? { range: [-0.03, 1.03] } : {}),
  });
  const isBinary = (m, i) => m.kinds[i] === "binary";
  const heightOf = (names) => 150 + 21 * names.length;

  const showValues = () => {
    const m = current();
    options($("order"), orders(m), state.order);
    const rows = chosenFeatures(m);
    const names = rows.map((i) => plain(m.features[i]));
    const at = (values) => rows.map((i) => scaled(m, i, values[i]));
    const c = about.colours;
    const [low, high, uLow, uHigh] = ["low", "high", "usual_low", "usual_high"].map((k) => at(m[k]));
    const ends = (a, b) =>
      rows.map((i, k) => (isBinary(m, i) || a[k] === null || b[k] === null ? [null, null] : [a[k], b[k]]));
    const hover = rows.map((i, k) =>
      `<b>${names[k]}</b><br>measured ${value(m, i, m.measured[i])}<br>generated ${mean(m, i)}` +
      `${interval(m, i)}<br>usual ${usualText(m, i)}`);
    const binary = rows.map((i) => isBinary(m, i));
    const traces = [
      trace("usual: 80 % of training patients", { mode: "lines", ...segments(ends(uLow, uHigh), names),
        line: { color: c.usual, width: 13 } }),
      trace("frequency in training patients", { x: at(m.usual).map((v, k) => (binary[k] ? v : null)),
        y: names, marker: { symbol: "line-ns-open", size: 14, color: "#8c8c8c", line: { width: 3 } } }),
      trace(`generated, 80 % of ${about.draws} draws`, { mode: "lines", ...segments(ends(low, high), names),
        line: { color: c.generated, width: 3 } }),
      trace("generated, mean", { x: at(m.mean), y: names, marker: { color: c.generated, size: 10 },
        hoverinfo: "text", hovertext: hover }),
      trace("measured", { x: at(m.measured), y: names, hoverinfo: "text", hovertext: hover,
        marker: { symbol: "diamond-open", color: c.measured, size: 11, line: { width: 2 } } }),
    ].filter((t) => has(t.x));
    const onlyBinary = binary.length > 0 && binary.every(Boolean);
    Plotly.react("values-plot", traces, layout({
      height: heightOf(names), xaxis: valueAxis(m, onlyBinary, $("scale").value === "usual"),
      yaxis: featureAxis(names), margin: { l: 60, r: 20, t: 60, b: 50 },
    }), settings);
    $("values-caption").textContent = rows.length < m.features.length
      ? `${rows.length} of ${m.features.length} features.` : "";
    showTable(m, rows);
  };
  // Whole numbers whole, events as probabilities.
  const digits = (v) => (v === null ? "–" : String(Number(v.toPrecision(4))));
  const whole = (kind) => kind === "counts" || kind === "ordinal";
  const value = (m, i, v) => (v === null ? "–" : digits(v));
  const mean = (m, i, v = m.mean[i]) => {
    if (v === null) return "–";
    if (isBinary(m, i)) return `${percent(v)} likely`;
    return whole(m.kinds[i]) ? `about ${Math.round(v)}` : digits(v);
  };
  const interval = (m, i, of = m) =>
    isBinary(m, i) || of.low[i] === null ? "" : ` (${digits(of.low[i])} to ${digits(of.high[i])})`;
  const usualText = (m, i) =>
    isBinary(m, i) ? `${percent(m.usual[i])} have it` : `${digits(m.usual_low[i])} to ${digits(m.usual_high[i])}`;
  const table = (target, heads, rows) => {
    const line = (tag, cells) => {
      const row = document.createElement("tr");
      row.append(...cells.map((cell) => {
        const own = document.createElement(tag);
        own.append(cell);
        return own;
      }));
      return row;
    };
    const head = document.createElement("thead"), body = document.createElement("tbody");
    head.append(line("th", heads));
    body.append(...rows.map((cells) => line("td", cells)));
    target.replaceChildren(head, body);
  };
  const showTable = (m, rows) => table(
    $("values-table"), ["feature", "kind", "measured", "generated", "80 % interval", "usual"],
    rows.map((i) => [m.features[i], m.kinds[i], value(m, i, m.measured[i]), mean(m, i),
      interval(m, i).trim().replace(/[()]/g, "") || "–", usualText(m, i)]),
  );

  const showCovariates = () => {
    const it = state.look;
    $("as-if").hidden = !it.covariates.length;
    $("covariates").replaceChildren(...it.covariates.map((covariate) => {
      const label = element("label", `${covariate.name} `);
      const asked = it.settings[covariate.name] ?? "";
      let input;
      if (covariate.levels) {
        input = document.createElement("select");
        options(input, [["", `as recorded: ${covariate.told}`],
          ...covariate.levels.filter((l) => l !== covariate.told).map((l) => [l, l])], asked);
      } else {
        input = element("input", "", { type: "text", size: 14, value: asked,
          placeholder: `recorded: ${covariate.told}`,
          title: `${covariate.range[0]} to ${covariate.range[1]} in training, or unknown` });
      }
      input.name = covariate.name;
      input.addEventListener("change", () => {
        state.settings = {};
        for (const each of $("covariates").querySelectorAll("input, select"))
          if (each.value.trim()) state.settings[each.name] = each.value.trim();
        look();
      });
      label.append(input);
      return label;
    }));
  };
  const showAsIf = () => {
    const m = current(), it = state.look;
    const asked = Object.entries(it.settings).map(([name, v]) => `${name} = ${v}`).join(", ");
    $("if-plot").hidden = !m.as_if;
    $("if-caption").textContent = m.as_if ? "" : asked
      ? `${m.name} cannot be generated.` : "Choose another value to see what changes.";
    if (!m.as_if) return;
    const rows = m.by_change.slice(0, 16), names = rows.map((i) => plain(m.features[i]));
    const c = about.colours, mark = (values) => rows.map((i) => values[i]);
    const bands = (of) => rows.map((i) => (isBinary(m, i) ? [null, null] : [of.low[i], of.high[i]]));
    const hover = rows.map((i, k) => `<b>${names[k]}</b><br>as recorded ${mean(m, i)}${interval(m, i)}` +
      `<br>as if ${mean(m, i, m.as_if.mean[i])}${interval(m, i, m.as_if)}`);
    const both = rows.map((i) => [m.mean[i], m.as_if.mean[i]]);
    Plotly.react("if-plot", [
      trace("as recorded, 80 %", { mode: "lines", ...segments(bands(m), names),
        line: { color: "rgba(0, 114, 178, .22)", width: 12 } }),
      trace("as if, 80 %", { mode: "lines", ...segments(bands(m.as_if), names),
        line: { color: "rgba(213, 94, 0, .22)", width: 7 } }),
      trace("", { mode: "lines", ...segments(both, names), line: { color: "#8c8c8c", width: 1.5 },
        showlegend: false }),
      trace("mean as recorded", { x: mark(m.mean), y: names, marker: { color: c.generated, size: 9 },
        hoverinfo: "text", hovertext: hover }),
      trace(`mean as if ${plain(asked)}`, { x: mark(m.as_if.mean), y: names, hoverinfo: "text",
        hovertext: hover, marker: { color: c.as_if, size: 9, symbol: "square" } }),
    ].filter((t) => has(t.x)), layout({
      height: heightOf(names), xaxis: valueAxis(m, rows.every((i) => isBinary(m, i)), false),
      yaxis: featureAxis(names), margin: { l: 60, r: 20, t: 60, b: 50 },
    }), settings);
    $("if-caption").textContent = `${m.name}: the ${rows.length} of ${m.features.length} features whose mean changes most, for the width of their draws.`;
  };

  const showNear = async () => {
    const near = state.look.neighbours;
    $("near").hidden = !near;
    if (!near) return;
    const all = state.look.modalities.filter((m) => m.present).map((m) => m.name).join("+");
    table($("near-table"), ["patient", "distance", "side", "cancer type", "assays compared"],
      near.rows.map((row) => {
        const link = element("button", row.id, { type: "button" });
        link.addEventListener("click", () => choose(row.id));
        return [link, row.distance.toFixed(2), row.side, row.type, row.shared === all ? "all" : row.shared];
      }));
    if (!state.maps) state.maps = await (await fetch("maps")).json();
    const placed = Object.keys(near.places);
    options($("map"), placed.map((n) => [n, n]), placed.includes(state.modality) ? state.modality : $("map").value);
    showMap();
  };
  $("map").addEventListener("change", () => showMap());
  const showMap = () => {
    const name = $("map").value, near = state.look.neighbours, map = state.maps[name];
    if (!map) return;
    const groups = [...new Set(map.types)].sort();
    const traces = groups.map((group, g) => {
      const rows = map.types.flatMap((type, i) => (type === group ? [i] : []));
      const [color, symbol] = about.groups[g % about.groups.length];
      return trace(plain(group), { x: rows.map((i) => map.x[i]), y: rows.map((i) => map.y[i]),
        hoverinfo: "text", hovertext: rows.map((i) => plain(`${map.ids[i]} · ${group}`)),
        marker: { color, symbol, size: 6, opacity: 0.55 } });
    });
    const ids = new Map(map.ids.map((id, i) => [id, i]));
    const close = near.rows.flatMap((row) => (ids.has(row.id) ? [ids.get(row.id)] : []));
    traces.push(trace("neighbours", { x: close.map((i) => map.x[i]), y: close.map((i) => map.y[i]),
      marker: { symbol: "circle-open", size: 12, color: "#000000", line: { width: 1.5 } } }));
    const [x, y] = near.places[name];
    traces.push(trace("this patient", { x: [x], y: [y],
      marker: { symbol: "star", size: 19, color: "#F0E442", line: { width: 1.5, color: "#000000" } } }));
    const bare = { zeroline: false, showticklabels: false };
    Plotly.react("map-plot", traces, layout({
      height: 470, margin: { l: 40, r: 10, t: 20, b: 40 }, legend: { x: 1.02, y: 1 },
      xaxis: axis("xaxis", { ...bare, title: { text: map.labels[0] } }),
      yaxis: axis("yaxis", { ...bare, title: { text: map.labels[1] } }),
    }), settings);
  };
})();
