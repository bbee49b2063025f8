"use strict";
(function () {
  var D = JSON.parse(document.getElementById("data").textContent);
  var T = D.words, S = D.strategies, shown = {};
  var NS = "http://www.w3.org/2000/svg";
  var W = 900, H = 430, M = { l: 82, r: 20, t: 14, b: 52 };
  D.first.forEach(function (id) { shown[id] = true; });

  function $(id) { return document.getElementById(id); }
  function svg(name, attributes, text) {
    var node = document.createElementNS(NS, name);
    Object.keys(attributes || {}).forEach(function (key) { node.setAttribute(key, attributes[key]); });
    if (text !== undefined) node.textContent = text;
    return node;
  }
  function html(name, text, cls) {
    var node = document.createElement(name);
    if (text !== undefined) node.textContent = text;
    if (cls) node.className = cls;
    return node;
  }
  function fixed(x, digits) {
    var text = Math.abs(x).toFixed(digits), parts = text.split(".");
    parts[0] = parts[0].replace(/\B(?=(\d{3})+(?!\d))/g, ",");
    text = parts.join(".");
    return (x < 0 && /[1-9]/.test(text) ? "\u2212" : "") + text;
  }
  function money(x) { return x === null || x === undefined ? "\u2013" : fixed(x, 0); }
  function percent(x) { return x === null || x === undefined ? "\u2013" : fixed(100 * x, 1) + "\u202f%"; }
  function short(x) {
    var a = Math.abs(x);
    if (T.large && a >= 1e4) return trim(x / 1e4) + T.large;
    if (!T.large && a >= 1e6) return trim(x / 1e6) + "M";
    if (!T.large && a >= 1e4) return trim(x / 1e3) + "k";
    return a >= 100 || a === 0 ? fixed(x, 0) : trim(x);
  }
  function trim(x) { var text = fixed(x, 2); return text.indexOf(".") < 0 ? text : text.replace(/0+$/, "").replace(/\.$/, ""); }
  function ticks(lo, hi, n) {
    if (!(hi > lo)) hi = lo + 1;
    var raw = (hi - lo) / n, power = Math.pow(10, Math.floor(Math.log10(raw))), f = raw / power;
    var step = (f <= 1 ? 1 : f <= 2 ? 2 : f <= 2.5 ? 2.5 : f <= 5 ? 5 : 10) * power, out = [];
    for (var k = Math.ceil(lo / step - 1e-9); k * step <= hi + step * 1e-9; k++) out.push(k * step);
    return out;
  }
  function active(ids) { return ids.filter(function (id) { return shown[id]; }); }

  // A frame with axes; returns scales and the node to draw into.
  function frame(holder, box, opt) {
    var root = svg("svg", { viewBox: "0 0 " + W + " " + H, "aria-hidden": "true" });
    var X = function (x) { return M.l + (x - box.x0) / (box.x1 - box.x0) * (W - M.l - M.r); };
    var Y = function (y) { return H - M.b - (y - box.y0) / (box.y1 - box.y0) * (H - M.t - M.b); };
    (opt.xticks || ticks(box.x0, box.x1, 8)).forEach(function (t) {
      if (opt.xgrid) root.appendChild(svg("line", { x1: X(t), x2: X(t), y1: M.t, y2: H - M.b, "class": "grid" }));
      root.appendChild(svg("text", { x: X(t), y: H - M.b + 19, "text-anchor": "middle" }, opt.xformat(t)));
    });
    (opt.yticks || ticks(box.y0, box.y1, 6)).forEach(function (t) {
      root.appendChild(svg("line", { x1: M.l, x2: W - M.r, y1: Y(t), y2: Y(t), "class": "grid" }));
      root.appendChild(svg("text", { x: M.l - 8, y: Y(t) + 4.5, "text-anchor": "end" }, opt.yformat(t)));
    });
    var y0 = box.y0 <= 0 && box.y1 >= 0 ? Y(0) : H - M.b, x0 = box.x0 <= 0 && box.x1 >= 0 ? X(0) : M.l;
    root.appendChild(svg("line", { x1: M.l, x2: W - M.r, y1: y0, y2: y0, "class": "axis" }));
    if (opt.xgrid) root.appendChild(svg("line", { x1: x0, x2: x0, y1: M.t, y2: H - M.b, "class": "axis" }));
    root.appendChild(svg("text", { x: (M.l + W - M.r) / 2, y: H - 8, "text-anchor": "middle" }, opt.xlabel));
    root.appendChild(svg("text", { x: 14, y: (M.t + H - M.b) / 2, "text-anchor": "middle", transform: "rotate(-90 14 " + (M.t + H - M.b) / 2 + ")" }, opt.ylabel));
    holder.textContent = "";
    holder.appendChild(root);
    return { root: root, X: X, Y: Y, box: box };
  }
  function path(points, X, Y) {
    return points.map(function (p, k) { return (k ? "L" : "M") + X(p[0]).toFixed(1) + " " + Y(p[1]).toFixed(1); }).join("");
  }
  function line(f, points, style, width) {
    f.root.appendChild(svg("path", { d: path(points, f.X, f.Y), fill: "none", stroke: style.colour, "stroke-width": width || 2, "stroke-dasharray": style.dash || "none", "stroke-linejoin": "round" }));
  }
  function legend(id, items) {
    var holder = $("legend-" + id);
    holder.textContent = "";
    items.forEach(function (item) {
      var entry = html("span", undefined, "item"), mark = svg("svg", { viewBox: "0 0 28 10", "aria-hidden": "true" });
      if (item.fill) mark.appendChild(svg("rect", { x: 4, y: 0, width: 20, height: 10, fill: item.colour }));
      else mark.appendChild(svg("line", { x1: 0, x2: 28, y1: 5, y2: 5, stroke: item.colour, "stroke-width": 2.5, "stroke-dasharray": item.dash || "none" }));
      entry.appendChild(mark);
      entry.appendChild(html("span", item.label));
      holder.appendChild(entry);
    });
  }
  function strategyLegend(id, ids) { legend(id, ids.map(function (s) { return { label: S[s].label, colour: S[s].colour, dash: S[s].dash }; })); }

  // A box that follows the pointer or the arrow keys along x and lists what stands there.
  function hover(holder, f, xs, lines) {
    var tip = html("div", undefined, "tip"), bar = svg("line", { y1: M.t, y2: H - M.b, "class": "axis", opacity: 0 }), at = -1;
    tip.hidden = true;
    holder.appendChild(tip);
    f.root.appendChild(bar);
    function show(k) {
      at = Math.max(0, Math.min(xs.length - 1, k));
      var x = f.X(xs[at]), scale = holder.clientWidth / W;
      bar.setAttribute("x1", x); bar.setAttribute("x2", x); bar.setAttribute("opacity", 0.45);
      tip.textContent = "";
      lines(at).forEach(function (text, n) {
        var row = html("div", undefined);
        if (text.colour) { var s = html("span", "", "dot"); s.style.background = text.colour; row.appendChild(s); }
        row.appendChild(document.createTextNode(text.text));
        if (n === 0) row.style.fontWeight = "600";
        tip.appendChild(row);
      });
      tip.hidden = false;
      var left = x * scale + 14;
      if (left + tip.offsetWidth > holder.clientWidth) left = Math.max(0, x * scale - tip.offsetWidth - 14);
      tip.style.left = left + "px"; tip.style.top = "18px";
    }
    function hide() { tip.hidden = true; bar.setAttribute("opacity", 0); }
    holder.onmousemove = function (event) {
      var box = f.root.getBoundingClientRect(), px = (event.clientX - box.left) / box.width * W;
      var x = f.box.x0 + (px - M.l) / (W - M.l - M.r) * (f.box.x1 - f.box.x0), best = 0;
      xs.forEach(function (v, k) { if (Math.abs(v - x) < Math.abs(xs[best] - x)) best = k; });
      show(best);
    };
    holder.onmouseleave = hide;
    holder.onblur = hide;
    holder.onkeydown = function (event) {
      if (event.key === "ArrowRight") { show(at + 1); event.preventDefault(); }
      else if (event.key === "ArrowLeft") { show(at < 0 ? 0 : at - 1); event.preventDefault(); }
      else if (event.key === "Escape") hide();
    };
  }
  function tipRows(head, ids, value) {
    return [{ text: head }].concat(ids.map(function (id) { return { id: id, v: value(id) }; }).filter(function (r) { return r.v !== null && r.v !== undefined; })
      .sort(function (a, b) { return b.v - a.v; }).slice(0, 15).map(function (r) { return { colour: S[r.id].colour, raw: r.v, id: r.id }; }));
  }

  function survival() {
    var holder = $("plot-survival");
    if (!holder) return;
    var data = D.survival[$("endpoint-choice").value], ids = active(Object.keys(data.curves)), months = data.months;
    var last = months[months.length - 1] / 12, years = [];
    for (var k = 0; k <= last; k += last > 6 ? 2 : 1) years.push(k);
    var f = frame(holder, { x0: 0, x1: last, y0: 0, y1: 1 }, { xticks: years, xformat: String, yticks: [0, .2, .4, .6, .8, 1], yformat: function (t) { return fixed(100 * t, 0) + "\u202f%"; }, xlabel: T.years_since, ylabel: T.share_free });
    ids.forEach(function (id) { line(f, data.curves[id].map(function (y, k) { return [months[k] / 12, y]; }), S[id]); });
    strategyLegend("survival", ids);
    hover(holder, f, months.map(function (m) { return m / 12; }), function (k) {
      return tipRows(T.at_months.replace("{n}", months[k]), ids, function (id) { return data.curves[id][k]; }).map(function (r) {
        return r.text ? r : { colour: r.colour, text: S[r.id].label + "  " + percent(r.raw) + " \u00b1" + percent(data.mcse[r.id][k]) };
      });
    });
  }
  function states() {
    var holder = $("plot-states");
    if (!holder) return;
    var id = $("state-choice").value, data = D.states.shares[id], months = D.states.months, last = months[months.length - 1] / 12, years = [];
    for (var k = 0; k <= last; k += last > 6 ? 2 : 1) years.push(k);
    var f = frame(holder, { x0: 0, x1: last, y0: 0, y1: 1 }, { xticks: years, xformat: String, yticks: [0, .2, .4, .6, .8, 1], yformat: function (t) { return fixed(100 * t, 0) + "\u202f%"; }, xlabel: T.years_since, ylabel: T.share_patients });
    var base = months.map(function () { return 0; });
    D.states.names.forEach(function (state) {
      var top = base.map(function (b, k) { return b + data[state.id][k]; });
      var up = top.map(function (y, k) { return [months[k] / 12, y]; }), down = base.map(function (y, k) { return [months[k] / 12, y]; }).reverse();
      var area = svg("path", { d: path(up.concat(down), f.X, f.Y) + "Z", fill: state.colour, stroke: "#fff", "stroke-width": .6 });
      area.appendChild(svg("title", {}, state.label));
      f.root.appendChild(area);
      base = top;
    });
    legend("states", D.states.names.map(function (s) { return { label: s.label, colour: s.colour, fill: true }; }));
    hover(holder, f, months.map(function (m) { return m / 12; }), function (k) {
      return [{ text: T.at_months.replace("{n}", months[k]) }].concat(D.states.names.map(function (s) { return { colour: s.colour, text: s.label + "  " + percent(data[s.id][k]) }; }));
    });
  }

  var at = 0;
  function wtp() { return D.wtp.length ? D.wtp[at] : 0; }
  function wtpLine(f) {
    if (D.wtp.length) f.root.appendChild(svg("line", { x1: f.X(wtp()), x2: f.X(wtp()), y1: M.t, y2: H - M.b, "class": "mark" }));
  }
  function overWtp(id, series, opt) {
    var holder = $("plot-" + id);
    if (!holder) return;
    var ids = opt.ids ? opt.ids : active(Object.keys(series)), lo = 0, hi = opt.top || 0;
    ids.forEach(function (s) { (opt.band && opt.band[s] ? series[s].concat(opt.band[s][0], opt.band[s][1]) : series[s]).forEach(function (y) { if (y !== null) { lo = Math.min(lo, y); hi = Math.max(hi, y); } }); });
    if (hi === lo) hi = lo + 1;
    var f = frame(holder, { x0: 0, x1: D.wtp[D.wtp.length - 1] || 1, y0: lo, y1: hi }, { xformat: short, yformat: opt.yformat, xlabel: T.wtp_axis, ylabel: opt.ylabel });
    ids.forEach(function (s) {
      if (opt.band && opt.band[s] && ids.length <= 4) {
        var up = opt.band[s][1].map(function (y, k) { return [D.wtp[k], y]; }), down = opt.band[s][0].map(function (y, k) { return [D.wtp[k], y]; }).reverse();
        f.root.appendChild(svg("path", { d: path(up.concat(down), f.X, f.Y) + "Z", fill: (S[s] || opt.style).colour, opacity: .12 }));
      }
      line(f, series[s].map(function (y, k) { return [D.wtp[k], y]; }), S[s] || opt.style, opt.heavy ? 3 : 2);
    });
    if (opt.frontier) {
      D.wtp.forEach(function (w, k) {
        var s = opt.frontier[k];
        if (s && series[s] && shown[s]) f.root.appendChild(svg("circle", { cx: f.X(w), cy: f.Y(series[s][k]), r: 3.6, fill: "#fff", stroke: S[s].colour, "stroke-width": 2 }));
      });
    }
    wtpLine(f);
    if (opt.ids) legend(id, []); else strategyLegend(id, ids);
    hover(holder, f, D.wtp, function (k) {
      var head = T.wtp_at.replace("{amount}", money(D.wtp[k]));
      if (opt.ids) return [{ text: head }, { text: opt.value(series[opt.ids[0]][k]) }];
      return tipRows(head, ids, function (s) { return series[s][k]; }).map(function (r) { return r.text ? r : { colour: r.colour, text: S[r.id].label + "  " + opt.value(r.raw) }; });
    });
  }
  function plane() {
    var holder = $("plot-plane");
    if (!holder) return;
    var P = D.plane, ids = active(Object.keys(P)), x0 = 0, x1 = 0, y0 = 0, y1 = 0;
    ids.forEach(function (id) {
      P[id].points.concat(P[id].ellipse, [P[id].mean]).forEach(function (p) { x0 = Math.min(x0, p[0]); x1 = Math.max(x1, p[0]); y0 = Math.min(y0, p[1]); y1 = Math.max(y1, p[1]); });
    });
    var dx = (x1 - x0) * .06 || .1, dy = (y1 - y0) * .06 || 1;
    var f = frame(holder, { x0: x0 - dx, x1: x1 + dx, y0: y0 - dy, y1: y1 + dy }, { xformat: trim, yformat: short, xlabel: T.inc_qaly, ylabel: T.inc_cost, xgrid: true });
    var clip = svg("clipPath", { id: "inside" });
    clip.appendChild(svg("rect", { x: M.l, y: M.t, width: W - M.l - M.r, height: H - M.t - M.b }));
    f.root.appendChild(clip);
    if (D.wtp.length) f.root.appendChild(svg("line", { x1: f.X(x0 - dx), y1: f.Y((x0 - dx) * wtp()), x2: f.X(x1 + dx), y2: f.Y((x1 + dx) * wtp()), "class": "mark", "clip-path": "url(#inside)" }));
    ids.forEach(function (id) {
      var g = svg("g", { "clip-path": "url(#inside)" });
      P[id].points.forEach(function (p) { g.appendChild(svg("circle", { cx: f.X(p[0]).toFixed(1), cy: f.Y(p[1]).toFixed(1), r: 1.7, fill: S[id].colour, opacity: .28 })); });
      if (P[id].ellipse.length) g.appendChild(svg("path", { d: path(P[id].ellipse, f.X, f.Y) + "Z", fill: "none", stroke: S[id].colour, "stroke-width": 1.6, "stroke-dasharray": S[id].dash || "none" }));
      var m = svg("circle", { cx: f.X(P[id].mean[0]), cy: f.Y(P[id].mean[1]), r: 6, fill: S[id].colour, stroke: "#fff", "stroke-width": 1.5 });
      m.appendChild(svg("title", {}, S[id].label + ": " + fixed(P[id].mean[0], 3) + " QALY, " + money(P[id].mean[1]) + " " + D.currency));
      g.appendChild(m);
      f.root.appendChild(g);
    });
    strategyLegend("plane", ids);
  }
  function nearest(list, x) { var best = 0; list.forEach(function (v, k) { if (Math.abs(v - x) < Math.abs(list[best] - x)) best = k; }); return best; }
  function wtpTable() {
    var holder = $("wtp-table");
    if (!holder || !D.wtp.length) return;
    var w = wtp(), rows = Array.prototype.slice.call(holder.querySelectorAll("tbody tr")), best = null;
    function nmb(id) { return w * D.points[id][1] - D.points[id][0]; }
    rows.forEach(function (row) { var id = row.getAttribute("data-strategy"); if (best === null || nmb(id) > nmb(best)) best = id; });
    rows.forEach(function (row) {
      var id = row.getAttribute("data-strategy"), cells = row.querySelectorAll("td"), base = D.points[D.comparator];
      row.className = id === best ? "best" : "";
      cells[0].textContent = money(nmb(id));
      cells[1].textContent = "";
      if (!base) cells[1].textContent = "\u2013";
      else if (id === D.comparator) cells[1].textContent = "0";
      else {
        var d = nmb(id) - nmb(D.comparator);
        cells[1].appendChild(html("b", (d > 0 ? "+" : "") + money(d)));
        if (D.inmb[id]) {
          if (D.inmb[id].mcse) cells[1].appendChild(html("span", " \u00b1" + money(D.inmb[id].mcse[at]), "mcse"));
          if (D.inmb[id].lower && D.several) cells[1].appendChild(html("span", money(D.inmb[id].lower[at]) + " " + T.to + " " + money(D.inmb[id].upper[at]), "interval"));
        }
      }
      if (cells.length > 2) {
        cells[2].textContent = D.ceac[id] ? percent(D.ceac[id][at]) : "\u2013";
        cells[3].textContent = D.loss[id] ? money(D.loss[id][at]) : "\u2013";
        if (D.ceac[id] && D.ceac_mcse[id] && D.ceac_mcse[id][at]) cells[2].appendChild(html("span", " \u00b1" + percent(D.ceac_mcse[id][at]), "mcse"));
        if (D.loss[id] && D.loss_mcse[id] && D.loss_mcse[id][at]) cells[3].appendChild(html("span", " \u00b1" + money(D.loss_mcse[id][at]), "mcse"));
      }
    });
    rows.sort(function (a, b) { return nmb(b.getAttribute("data-strategy")) - nmb(a.getAttribute("data-strategy")); }).forEach(function (row) { row.parentNode.appendChild(row); });
    $("wtp-value").textContent = money(w) + (D.currency ? " " + D.currency : "") + " / QALY";
    $("wtp").setAttribute("aria-valuetext", money(w) + (D.currency ? " " + D.currency : "") + " / QALY");
    $("evpi-words").textContent = D.evpi ? T.evpi_words.replace("{evpi}", money(D.evpi[at]) + (D.evpi_mcse[at] ? " \u00b1" + money(D.evpi_mcse[at]) : "")) : "";
  }
  function economics() {
    wtpTable();
    plane();
    if (D.several) {
      overWtp("ceac", D.ceac, { top: 1, yformat: function (t) { return fixed(100 * t, 0) + "\u202f%"; }, value: percent, ylabel: T.p_best, frontier: D.ceaf });
      if (D.evpi) overWtp("evpi", { evpi: D.evpi }, { ids: ["evpi"], style: { colour: "#14314a" }, yformat: short, value: function (x) { return money(x) + " " + D.currency; }, ylabel: T.evpi_axis, heavy: true });
    }
    var means = {}, bands = {};
    Object.keys(D.inmb).forEach(function (id) { means[id] = D.inmb[id].mean; if (D.several) bands[id] = [D.inmb[id].lower, D.inmb[id].upper]; });
    overWtp("inmb", means, { band: bands, yformat: short, value: money, ylabel: T.inmb_axis });
  }
  function all() { survival(); states(); economics(); }

  document.querySelectorAll("#strategy-choice input").forEach(function (input) {
    input.checked = !!shown[input.value];
    input.addEventListener("change", function () { shown[input.value] = input.checked; all(); });
  });
  function set(ids) {
    shown = {};
    ids.forEach(function (id) { shown[id] = true; });
    document.querySelectorAll("#strategy-choice input").forEach(function (input) { input.checked = !!shown[input.value]; });
    all();
  }
  if ($("all-strategies")) $("all-strategies").onclick = function () { set(Object.keys(S)); };
  if ($("main-strategies")) $("main-strategies").onclick = function () { set(D.first); };
  if ($("endpoint-choice")) $("endpoint-choice").onchange = survival;
  if ($("state-choice")) $("state-choice").onchange = states;
  if ($("pathway-choice")) $("pathway-choice").onchange = function () {
    var id = this.value;
    document.querySelectorAll("#pathways figure").forEach(function (figure) { figure.hidden = figure.getAttribute("data-strategy") !== id; });
  };
  if ($("wtp") && D.wtp.length) {
    var input = $("wtp");
    at = nearest(D.wtp, D.wtp_first);
    input.max = D.wtp.length - 1; input.value = at;
    input.addEventListener("input", function () { at = Number(input.value); economics(); });
  } else if ($("wtp")) { document.querySelector(".slider").hidden = true; $("wtp-table").hidden = true; }
  if ($("filter")) $("filter").addEventListener("input", function () {
    var text = this.value.toLowerCase().trim(), n = 0;
    document.querySelectorAll("#parameters tbody tr").forEach(function (row) { var yes = row.textContent.toLowerCase().indexOf(text) >= 0; row.hidden = !yes; n += yes; });
    $("filter-count").textContent = text ? n : "";
  });
  // Paper shows what is folded away on the screen, and folds it again afterwards.
  var opened = [];
  window.addEventListener("beforeprint", function () { document.querySelectorAll("details:not([open]):not(.once)").forEach(function (d) { d.open = true; opened.push(d); }); });
  window.addEventListener("afterprint", function () { opened.forEach(function (d) { d.open = false; }); opened = []; });
  all();
  document.documentElement.setAttribute("data-ready", "yes");
})();
