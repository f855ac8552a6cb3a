// Sorts a table by the column whose heading is pressed; what has no value stays last.
for (const table of document.querySelectorAll("table.sortable")) {
  const headings = [...table.tHead.rows[table.tHead.rows.length - 1].cells];
  const body = table.tBodies[0];
  headings.forEach((heading, column) => {
    const numeric = "numeric" in heading.dataset;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    heading.append(button);
    button.addEventListener("click", () => {
      const downwards = heading.ariaSort === (numeric ? null : "ascending");
      const sign = downwards ? -1 : 1;
      headings.forEach((other) => other.removeAttribute("aria-sort"));
      heading.ariaSort = downwards ? "descending" : "ascending";
      const order = (row) => row.cells[column].dataset.order;
      const compare = (a, b) => (numeric ? Math.sign(a - b) || 0 : a.localeCompare(b));
      const rows = [...body.rows].sort((first, second) => {
        const [a, b] = [order(first), order(second)];
        if (a === "" || b === "") return (a === "") - (b === "");
        return sign * compare(a, b);
      });
      body.append(...rows);
    });
  });
}
