"use strict";
// Hides the documents that lack a chosen term. Terms are compared as text and never become part of the page.
const form = document.getElementById("filters");
const found = document.getElementById("found-count");
const documents = Array.from(document.querySelectorAll("details[data-terms]"), (element) => ({
  element,
  terms: new Set(element.dataset.terms.split("\n")),
  text: element.textContent.toLowerCase(),
}));

function update() {
  const chosen = Array.from(form.querySelectorAll("select"), (menu) => menu.value).filter(Boolean);
  const wanted = form.querySelector("input").value.trim().toLowerCase();
  let count = 0;
  for (const each of documents) {
    const matches = chosen.every((term) => each.terms.has(term)) && each.text.includes(wanted);
    each.element.hidden = !matches;
    count += matches;
  }
  found.textContent = `${count} of ${documents.length} documents`;
}

form.hidden = false;
form.addEventListener("input", update);
form.addEventListener("reset", () => setTimeout(update));
form.addEventListener("submit", (event) => event.preventDefault());
update();
