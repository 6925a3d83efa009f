"use strict";
{
  const said = document.createElement("output");
  said.id = "said";
  said.hidden = true;
  document.body.append(said);

  const say = (text, x, y) => {
    said.textContent = text;
    said.hidden = false;
    const { offsetWidth: width, offsetHeight: height } = said;
    said.style.left = `${Math.max(4, Math.min(x + 12, innerWidth - width - 4))}px`;
    said.style.top = `${y > height + 16 ? y - height - 10 : y + 16}px`;
  };

  // Variants that are hidden, in all figures at once.
  const hidden = new Set();
  const draw = () => {
    for (const one of document.querySelectorAll(".drawing [data-variant]"))
      one.style.display = hidden.has(one.dataset.variant) ? "none" : "";
    for (const one of document.querySelectorAll(".legend [data-variant]"))
      one.setAttribute("aria-pressed", String(!hidden.has(one.dataset.variant)));
  };
  const toggle = (event) => {
    if (event.type === "keydown" && event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    const { variant } = event.currentTarget.dataset;
    if (!hidden.delete(variant)) hidden.add(variant);
    draw();
  };
  for (const chip of document.querySelectorAll(".legend [data-variant]")) {
    chip.setAttribute("role", "button");
    chip.tabIndex = 0;
    chip.addEventListener("click", toggle);
    chip.addEventListener("keydown", toggle);
  }
  for (const legend of document.querySelectorAll(".legend")) {
    const hint = document.createElement("span");
    hint.className = "hint";
    hint.textContent = "Click to hide or show.";
    legend.append(hint);
  }
  draw();

  // What is drawn of the variants that are shown, from the left, by its place in the SVG.
  const points = (svg) => {
    const found = [];
    for (const group of svg.querySelectorAll("[data-series]:not([data-series=''])")) {
      const { variant, series } = group.dataset;
      if (hidden.has(variant)) continue;
      const add = (x, y) => found.push({ variant, series, x: Number(x), y: Number(y) });
      for (const one of group.querySelectorAll("use"))  // a band is no point: it is put at the corner
        if (Number(one.getAttribute("x"))) add(one.getAttribute("x"), one.getAttribute("y"));
      for (const line of group.querySelectorAll("path[style*='fill: none']"))
        if (!line.closest("defs"))
          for (const [, x, y] of line.getAttribute("d").matchAll(/[ML] (\S+) (\S+)/g)) add(x, y);
    }
    return found.sort((one, other) => one.x - other.x);
  };
  const value = (scale, place) => {
    const [from, to] = scale.log ? scale.values.map(Math.log) : scale.values;
    const at = from + ((place - scale.places[0]) / (scale.places[1] - scale.places[0])) * (to - from);
    if (scale.date) return new Date(at * 864e5).toISOString().slice(0, 10);
    return String(Number((scale.log ? Math.exp(at) : at).toPrecision(4)));
  };
  const tell = (svg, point) => {
    const scales = Object.entries(JSON.parse(svg.dataset.scales));
    const values = scales.map(([axis, scale]) => `${scale.label}: ${value(scale, point[axis])}`);
    const { x, y } = new DOMPoint(point.x, point.y).matrixTransform(svg.getScreenCTM());
    say([`${point.variant}, ${point.series}`, ...values].join("\n"), x, y);
  };

  for (const drawing of document.querySelectorAll(".drawing")) {
    const svg = drawing.querySelector("svg");
    let last = null;
    const near = (event) => {
      const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
      const away = (point) => Math.hypot(point.x - at.x, point.y - at.y);
      last = points(svg).reduce((best, one) => (!best || away(one) <= away(best) ? one : best), null);
      if (last && away(last) < 30) tell(svg, last);
      else said.hidden = true;
    };
    drawing.addEventListener("pointermove", near);
    drawing.addEventListener("pointerdown", near);
    for (const event of ["pointerleave", "blur"])
      drawing.addEventListener(event, () => (said.hidden = true));
    drawing.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      const all = points(svg);
      if (!step || !all.length) return;
      event.preventDefault();
      const place = all.findIndex((one) => last && one.x === last.x && one.y === last.y);
      last = all[place < 0 ? 0 : Math.max(0, Math.min(all.length - 1, place + step))];
      tell(svg, last);
    });
  }

  // MLflow shows a report in a frame that opens no link by a plain click and saves no file. Its
  // address has that of the server, which may have moved since the report was made.
  const server = /^blob:(https?:\/\/[^/]+)/.exec(location.href)?.[1];
  if (server) {
    const copy = (text) => {
      const field = document.createElement("textarea");
      field.value = text;
      document.body.append(field);
      field.select();
      const copied = document.execCommand("copy");
      field.remove();
      return copied;
    };
    for (const link of document.querySelectorAll("a[href^='http']"))
      link.href = link.href.replace(/^https?:\/\/[^/]+/, server);
    document.addEventListener("click", (event) => {
      const link = event.target.closest("a");
      if (!link || link.hash && !link.host || (!link.download && (event.ctrlKey || event.metaKey))) return;
      event.preventDefault();
      const text = link.download ? decodeURIComponent(link.href.replace(/^[^,]*,/, "")) : link.href;
      const what = link.download
        ? "Copied to the clipboard as CSV: MLflow's frame saves no file."
        : "Ctrl or \u2318 and a click opens it: MLflow's frame opens no link. Its address is copied.";
      say(copy(text) ? what : text, event.clientX, event.clientY);
    });
  }
}
