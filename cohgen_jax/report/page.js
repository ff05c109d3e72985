"use strict";
(async () => {
  // Tables: click a heading to sort; type to keep the rows that contain every word.
  const number = (text) => (text.trim() === "" ? NaN : Number(text));
  for (const box of document.querySelectorAll(".scroll")) {
    const body = box.querySelector("tbody");
    if (!body) continue;
    box.querySelectorAll("thead th").forEach((head, column) => {
      head.classList.add("sortable");
      head.title = "Sort by this column";
      let up = false;
      head.addEventListener("click", () => {
        up = !up;
        const rows = [...body.rows].sort((a, b) => {
          const [x, y] = [a, b].map((row) => row.cells[column].textContent);
          const [m, n] = [number(x), number(y)];
          const order = isNaN(m) || isNaN(n) ? x.localeCompare(y) : m - n;
          return up ? order : -order;
        });
        body.append(...rows);
      });
    });
    if (body.rows.length > 15) {
      const filter = document.createElement("input");
      filter.type = "search";
      filter.placeholder = "Filter rows, e.g. multi cna";
      filter.setAttribute("aria-label", "Filter the rows of this table");
      filter.addEventListener("input", () => {
        const words = filter.value.toLowerCase().split(/\s+/);
        for (const row of body.rows) {
          const text = row.textContent.toLowerCase();
          row.hidden = !words.every((word) => text.includes(word));
        }
      });
      box.prepend(filter);
    }
  }

  // Plots: their pictures stay where plotly.js is not there or cannot be unpacked.
  const unpack = async (text) => {
    const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    const plain = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    const script = document.createElement("script");
    script.textContent = await new Response(plain).text();
    document.head.append(script);
  };
  const packed = document.getElementById("plotly");
  if (packed && window.DecompressionStream) await unpack(packed.textContent);
  if (!window.Plotly) return;
  document.documentElement.classList.add("live");
  const settings = {
    responsive: true,
    displaylogo: false,
    modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"],
    toImageButtonOptions: { format: "svg" },
  };
  const draw = (figure) => {
    const spec = JSON.parse(figure.querySelector("script").textContent);
    const selects = [...figure.querySelectorAll("select")];
    const show = () => {
      const fits = (trace) =>
        selects.every((s) => !trace.meta || !(s.name in trace.meta) || trace.meta[s.name] === s.value);
      const layout = { ...spec.layout };
      for (const [key, value, change] of spec.layouts)
        if (selects.some((s) => s.name === key && s.value === value))
          for (const [part, own] of Object.entries(change))
            layout[part] = Array.isArray(own) ? own : { ...layout[part], ...own };
      window.Plotly.react(figure.querySelector(".canvas"), spec.traces.filter(fits), layout, settings);
    };
    for (const select of selects) select.addEventListener("change", show);
    show();
  };
  const near = new IntersectionObserver(
    (entries) => {
      for (const entry of entries)
        if (entry.isIntersecting) {
          near.unobserve(entry.target);
          draw(entry.target);
        }
    },
    { rootMargin: "600px" },
  );
  for (const figure of document.querySelectorAll("figure.plot")) near.observe(figure);
})();
