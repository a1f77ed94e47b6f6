// Keeps the page up to date. Texts are set as text, never as markup.
"use strict";

const byId = (id) => document.getElementById(id);

function fill(id, rows) {
  const table = byId(id);
  const labels = Array.from(table.tHead.rows[0].cells, (cell) => cell.textContent);
  const made = rows.map((row) => {
    const line = document.createElement("tr");
    line.setAttribute("role", "row");
    row.forEach((text, index) => {
      const cell = document.createElement("td");
      cell.setAttribute("role", "cell");
      cell.dataset.label = labels[index];
      cell.textContent = text;
      line.append(cell);
    });
    return line;
  });
  table.tBodies[0].replaceChildren(...made);
  table.hidden = rows.length === 0;
  byId(id + "-empty").hidden = rows.length > 0;
}

function head(id, columns) {
  const cells = columns.map((name) => {
    const cell = document.createElement("th");
    cell.setAttribute("role", "columnheader");
    cell.scope = "col";
    cell.textContent = name;
    return cell;
  });
  byId(id).tHead.rows[0].replaceChildren(...cells);
}

function show(news) {
  if (news.mood) document.body.dataset.mood = news.mood;
  for (const [id, text] of Object.entries(news.texts ?? {})) byId(id).textContent = text;
  for (const [id, columns] of Object.entries(news.columns ?? {})) head(id, columns);
  for (const [id, rows] of Object.entries(news.tables ?? {})) fill(id, rows);
  if (news.progress) {
    const [done, of] = news.progress;
    const bar = byId("progress");
    bar.max = Math.max(of, 1);
    bar.value = done;
    bar.hidden = of === 0;
  }
}

const events = new EventSource("/events");
events.onmessage = (event) => {
  show(JSON.parse(event.data));
  byId("link").textContent = "Up to date.";
};
events.onerror = () => {
  byId("link").textContent = "Not connected: this is how it was. Trying again.";
};
