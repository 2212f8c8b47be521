// Filters of cards and tables that sort. Without it everything is there, in the order of the file.
(() => {
  "use strict";
  const comparer = new Intl.Collator(document.documentElement.lang, { numeric: true, sensitivity: "base" });
  const plain = (text) => text.normalize("NFC").toLocaleLowerCase();

  // Numbers by size, others by letter; what is missing comes last in either direction.
  const compare = (a, b, sign) => {
    if (a === null || b === null) return (a === null) - (b === null);
    return sign * (typeof a === "number" && typeof b === "number" ? a - b : comparer.compare(String(a), String(b)));
  };

  const orderOf = (card, key) => {
    if (key === "label" || key === "text") return card.dataset[key] ?? null;
    return JSON.parse(card.dataset.order ?? "{}")[key] ?? null;
  };

  const filterCards = (panel, grid) => {
    const cards = [...grid.children];
    const control = (role) => panel.querySelector(`[data-role="${role}"]`);
    const [label, flag, sort, search, reset] = ["label", "flag", "sort", "search", "reset"].map(control);
    const count = panel.querySelector("output");
    // The first entry of a list is "all": known by its place, since a label may be any text.
    const chosen = (list) => (list && list.selectedIndex > 0 ? list.value : null);

    const show = () => {
      const [wanted, mark, words] = [chosen(label), chosen(flag), plain(search.value.trim())];
      let shown = 0;
      for (const card of cards) {
        const { label: own = "", text = "", flags = "[]" } = card.dataset;
        const fits =
          (wanted === null || own === wanted) &&
          (mark === null || JSON.parse(flags).includes(mark)) &&
          plain(`${own} ${text}`).includes(words);
        card.hidden = !fits;
        shown += fits;
      }
      count.textContent = `${shown} of ${cards.length} shown`;
    };

    const arrange = () => {
      const key = chosen(sort);
      const down = key !== null && key.startsWith("-");
      const sorted = cards.map((card) => [card, key === null ? null : orderOf(card, down ? key.slice(1) : key)]);
      sorted.sort((a, b) => compare(a[1], b[1], down ? -1 : 1));
      grid.append(...sorted.map(([card]) => card));
    };

    for (const list of [label, flag]) list?.addEventListener("change", show);
    search.addEventListener("input", show);
    sort?.addEventListener("change", arrange);
    reset.addEventListener("click", () => {
      for (const list of [label, flag, sort]) if (list) list.selectedIndex = 0;
      search.value = "";
      arrange();
      show();
    });
    // A browser that goes back to a page fills in what was chosen before.
    panel.hidden = false;
    arrange();
    show();
  };

  const valueOf = (row, column) => {
    const cell = row.cells[column];
    const text = cell.textContent.trim();
    if (!cell.classList.contains("number")) return text || null;
    const number = text.replace(/[−–]/g, "-").replace(/,/g, "").match(/^[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?/i);
    return number ? Number(number[0]) : null;
  };

  const sortTable = (table) => {
    const [heads, body] = [[...table.tHead.rows[0].cells], table.tBodies[0]];
    heads.forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const down = head.getAttribute("aria-sort") === "ascending";
        for (const other of heads) other.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        const rows = [...body.rows].map((row) => [row, valueOf(row, column)]);
        rows.sort((a, b) => compare(a[1], b[1], down ? -1 : 1));
        body.append(...rows.map(([row]) => row));
      });
    });
  };

  const grids = [...document.querySelectorAll(".cards")];
  for (const panel of document.querySelectorAll(".filter")) {
    const grid = grids.find((one) => panel.compareDocumentPosition(one) & Node.DOCUMENT_POSITION_FOLLOWING);
    if (grid) filterCards(panel, grid);
  }
  document.querySelectorAll("table[data-sortable]").forEach(sortTable);
})();
