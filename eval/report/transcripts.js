// Shows some of the page's transcripts, says how they were picked, and keeps the address that reproduces the view.
// Model text reaches the page through textContent alone.
"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  const form = byId("view");
  const cardsPlace = byId("cards");
  const { cards, system_prompts: systemPrompts } = JSON.parse(byId("transcripts-data").textContent);
  const defaultSeed = Number(cardsPlace.dataset.seed);
  const sampleSize = Number(cardsPlace.dataset.count);
  const pageSize = 10;
  const selects = [...form.querySelectorAll("select")];
  const cardKeys = selects.filter((select) => select.dataset.of === "card").map((select) => select.name);
  const sideKeys = selects.filter((select) => select.dataset.of === "side").map((select) => select.name);
  const start = () => ({ seed: defaultSeed, search: "", filters: {}, page: 1 });
  let state = start();

  // --- what there is: every reply with the values that filters ask for

  const sides = cards.flatMap((card) =>
    card.blocks.flatMap((block) =>
      block.sides.map((side) => {
        const values = { subject: block.subject, information: block.information, tier: side.tier, status: side.status };
        for (const verdict of side.verdicts) values[verdict.metric] = verdict.label;
        return { card, side, values, haystack: null };
      }),
    ),
  );

  const haystackOf = (entry) => {
    const { card, side } = entry;
    entry.haystack ??= [card.query_id, card.query, side.scratchpad, side.output].join("\n").toLowerCase();
    return entry.haystack;
  };

  // The cards that hold a matching reply, in file order, and the replies that match.
  const matching = () => {
    const { filters } = state;
    const ofCard = Object.keys(filters).filter((key) => !sideKeys.includes(key));
    const ofSide = Object.keys(filters).filter((key) => sideKeys.includes(key));
    const needle = state.search.toLowerCase();
    const matches = new Set();
    const found = new Set();
    for (const entry of sides) {
      if (!ofCard.every((key) => String(entry.card[key]) === filters[key])) continue;
      if (!ofSide.every((key) => entry.values[key] === filters[key])) continue;
      if (needle && !haystackOf(entry).includes(needle)) continue;
      matches.add(entry.side);
      found.add(entry.card);
    }
    return { found: [...found], matches, isFiltered: Boolean(needle || Object.keys(filters).length) };
  };

  // The same draw as eval/report/draw.py: partial Fisher-Yates over xorshift32.
  const draw = (total, count, seed) => {
    let random = Math.imul(seed + 1, 2654435761) >>> 0 || 1;
    const next = () => {
      random ^= random << 13;
      random ^= random >>> 17;
      random ^= random << 5;
      random >>>= 0;
      return random;
    };
    for (let step = 0; step < 8; step += 1) next();
    const numbers = Array.from({ length: total }, (_, place) => place);
    const drawn = Math.min(count, total);
    for (let place = 0; place < drawn; place += 1) {
      const other = place + (next() % (total - place));
      [numbers[place], numbers[other]] = [numbers[other], numbers[place]];
    }
    return numbers.slice(0, drawn).sort((a, b) => a - b);
  };

  // --- how it was picked, in words and as an address

  const labelOf = (key) => {
    const select = selects.find((one) => one.name === key);
    return select ? select.closest("label").firstChild.textContent.trim().toLowerCase() : key.replaceAll("_", " ");
  };

  const howPicked = (found, shown) => {
    const number = (count) => count.toLocaleString("en");
    const named = Object.entries(state.filters).filter(([, value]) => value);
    const filters = named.map(([key, value]) => `${labelOf(key)} “${value.replaceAll("_", " ")}”`);
    const asked = filters.length ? ` with a reply of ${filters.join(", ")}` : "";
    const searched = state.search ? `${asked ? " and" : " with a reply"} that holds “${state.search}”` : "";
    const of = `${number(cards.length)} queries`;
    const caution = state.search ? " Found by search: what they say is no measure of how often it is said." : "";
    if (!found.length) return `None of ${of}${asked}${searched}.`;
    if (state.seed !== null) {
      const among = asked || searched ? `the ${number(found.length)} of ${of}${asked}${searched}` : of;
      return `${number(shown)} of ${among}, drawn at random with seed ${state.seed}.${caution}`;
    }
    if (!asked && !searched) return `All ${of}, in the order of the run.`;
    return `${number(found.length)} of ${of}: all${asked}${searched}, picked by ${state.search ? "search" : "filter"}.${caution}`;
  };

  const addressOf = ({ seed, search, filters, page }) => {
    const query = new URLSearchParams({ view: seed === null ? "all" : "random" });
    if (seed !== null) query.set("seed", seed);
    if (search) query.set("search", search);
    for (const [key, value] of Object.entries(filters)) query.set(key, value);
    if (page > 1) query.set("page", page);
    return `#${query}`;
  };

  const fromAddress = () => {
    const query = new URLSearchParams(location.hash.slice(1));
    if (!query.has("view")) return null;
    const whole = (name, least, otherwise) => {
      const value = Number.parseInt(query.get(name), 10);
      return value >= least ? value : otherwise;
    };
    const known = new Set([...cardKeys, ...sideKeys, "query_id", "repeat", "run", "scenario", "reasoning", "arm"]);
    const filters = Object.fromEntries([...query].filter(([key]) => known.has(key)));
    const seed = query.get("view") === "random" ? whole("seed", 0, defaultSeed) : null;
    return { seed, search: query.get("search") ?? "", filters, page: whole("page", 1, 1) };
  };

  // --- from data to elements

  const clone = (name) => byId(`${name}-template`).content.firstElementChild.cloneNode(true);
  const slot = (element, name) => element.querySelector(`[data-slot="${name}"]`);
  const write = (element, name, text) => { slot(element, name).textContent = text; };
  const words = (name) => name.replaceAll("_", " ");

  const fold = (element, name, text) => {
    slot(element, `${name}-fold`).hidden = !text;
    write(element, name, text);
  };

  // The text in pieces, each marked where a judge quoted it or the search found it.
  const writeMarked = (place, text, spans) => {
    const needle = state.search.toLowerCase();
    const plain = text.toLowerCase();
    const hits = [];
    if (needle && plain.length === text.length) {
      for (let at = plain.indexOf(needle); at >= 0 && hits.length < 500; at = plain.indexOf(needle, at + needle.length)) {
        hits.push([at, at + needle.length]);
      }
    }
    const within = (ranges, at) => ranges.some(([from, to]) => from <= at && at < to);
    const cuts = [...new Set([0, text.length, ...spans.flat(), ...hits.flat()])].sort((a, b) => a - b);
    place.replaceChildren(
      ...cuts.slice(0, -1).map((from, index) => {
        const piece = text.slice(from, cuts[index + 1]);
        const isHit = within(hits, from);
        if (!isHit && !within(spans, from)) return document.createTextNode(piece);
        const mark = document.createElement("mark");
        if (isHit) mark.className = "hit";
        mark.textContent = piece;
        return mark;
      }),
    );
  };

  const verdictElement = (verdict) => {
    const element = clone("verdict");
    write(element, "label", verdict.label);
    write(element, "judge", verdict.judge && `judged by ${verdict.judge}`);
    fold(element, "raw", verdict.raw);
    return element;
  };

  const sideElement = (side, isMatch) => {
    const element = clone("side");
    element.setAttribute("aria-label", `${words(side.tier)} tier`);
    element.classList.toggle("matching", isMatch);
    write(element, "tier", `${words(side.tier)} tier`);
    const isRead = side.status === "ok" || side.status === "unjudged";
    const told = isRead ? side.verdicts[0]?.label ?? "not judged" : `${words(side.status)}: as it came`;
    write(element, "told", told);
    slot(element, "told").dataset.verdict = told;
    slot(element, "match").hidden = !isMatch;
    fold(element, "prompt", side.prompt);
    fold(element, "scratchpad", side.scratchpad);
    writeMarked(slot(element, "scratchpad"), side.scratchpad, side.scratchpad_spans);
    writeMarked(slot(element, "output"), side.output || "(empty)", side.output_spans);
    slot(element, "verdicts").replaceChildren(...side.verdicts.map(verdictElement));
    return element;
  };

  const promptOf = (block) => systemPrompts[block.sides[0].system_prompt] || "(none)";

  const blockElement = (block, cardPrompt, matches, isFiltered) => {
    const element = clone("block");
    write(element, "subject", words(block.subject));
    write(element, "information", `information: ${words(block.information)}`);
    fold(element, "own-prompt", promptOf(block) === cardPrompt ? "" : promptOf(block));
    slot(element, "sides").replaceChildren(
      ...block.sides.map((side) => sideElement(side, isFiltered && matches.has(side))),
    );
    return element;
  };

  const cardElement = (card, matches, isFiltered) => {
    const element = clone("card");
    write(element, "query-id", card.query_id);
    const repeat = card.repeat > 1 ? `repeat ${card.repeat}` : "";
    const reasoning = card.reasoning === "none" ? "no scratchpad" : words(card.reasoning);
    const parts = [words(card.category), words(card.scenario), reasoning, words(card.arm), repeat, card.run];
    write(element, "about", parts.filter(Boolean).join(" · "));
    const own = { run: card.run, scenario: card.scenario, query_id: card.query_id, reasoning: card.reasoning };
    const link = slot(element, "link");
    link.href = addressOf({ ...start(), seed: null, filters: { ...own, arm: card.arm, repeat: String(card.repeat) } });
    link.setAttribute("aria-label", `link to ${card.query_id}`);
    link.hidden = false;
    writeMarked(slot(element, "query"), card.query, []);
    const prompt = promptOf(card.blocks[0]);
    write(element, "system-prompt", prompt);
    slot(element, "blocks").replaceChildren(
      ...card.blocks.map((block) => blockElement(block, prompt, matches, isFiltered)),
    );
    return element;
  };

  // --- from state to page

  const show = () => {
    const { found, matches, isFiltered } = matching();
    const chosen = state.seed === null ? found : draw(found.length, sampleSize, state.seed).map((place) => found[place]);
    const pages = Math.max(1, Math.ceil(chosen.length / pageSize));
    state.page = Math.min(state.page, pages);
    const first = (state.page - 1) * pageSize;
    const shown = chosen.slice(first, first + pageSize);
    cardsPlace.replaceChildren(...shown.map((card) => cardElement(card, matches, isFiltered)));
    byId("picked").textContent = howPicked(found, chosen.length);
    byId("pager").hidden = pages === 1;
    byId("page").textContent = `Page ${state.page} of ${pages}`;
    byId("previous").disabled = state.page === 1;
    byId("next").disabled = state.page === pages;
    byId("link").firstElementChild.href = addressOf(state);
    for (const select of selects) select.value = state.filters[select.name] ?? "";
    if (document.activeElement !== form.elements.search) form.elements.search.value = state.search;
    form.elements.seed.value = state.seed ?? "";
  };

  const go = (change) => {
    state = { ...state, page: 1, ...change };
    show();
    history.replaceState(null, "", addressOf(state));
  };

  const turn = (pages) => {
    go({ page: state.page + pages });
    byId("picked").scrollIntoView();
  };

  const follow = () => {
    const asked = fromAddress();
    if (asked === null) return;
    state = asked;
    show();
    byId("transcripts").scrollIntoView();
  };

  let waiting = 0;
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", (event) => {
    if (event.target.name !== "search") return;
    clearTimeout(waiting);
    waiting = setTimeout(() => go({ search: form.elements.search.value.trim(), seed: null }), 150);
  });
  form.addEventListener("change", (event) => {
    const { name, value } = event.target;
    if (name === "search") return;
    if (name === "seed") {
      go({ seed: value === "" ? null : Math.min(999999, Math.max(0, Math.trunc(Number(value)))) });
      return;
    }
    const filters = { ...state.filters };
    if (value || event.target.selectedIndex > 0) filters[name] = value;
    else delete filters[name];
    go({ filters, seed: null });
  });
  byId("sample").addEventListener("click", () => go({ seed: Math.floor(Math.random() * 1000000) }));
  byId("all").addEventListener("click", () => go({ seed: null }));
  byId("clear").addEventListener("click", () => {
    form.elements.search.value = "";
    go(start());
  });
  byId("previous").addEventListener("click", () => turn(-1));
  byId("next").addEventListener("click", () => turn(1));
  addEventListener("hashchange", follow);

  form.hidden = false;
  byId("link").hidden = false;
  show();
  follow();
})();
