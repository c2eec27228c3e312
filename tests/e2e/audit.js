/* What is wrong with a page for those who do not see it well: controls without a name, ids twice, headings out of
 * order, texts that stand out too little. Evaluated in the page; gives a list of texts.
 */
() => {
    const problems = [];
    const seen = (element) => element.checkVisibility({ visibilityProperty: true }) && !element.closest("[aria-hidden=true]");
    const nameOf = (element) => (element.getAttribute("aria-label") || element.labels?.[0]?.textContent || element.textContent
        || element.getAttribute("title") || "").trim();
    for (const control of document.querySelectorAll("a[href], button, input, select, textarea, [role=tab], [role=img], dialog, iframe")) {
        if (seen(control) && !nameOf(control)) problems.push(`no name: ${control.outerHTML.slice(0, 120)}`);
    }
    const ids = [...document.querySelectorAll("[id]")].map((element) => element.id);
    for (const id of new Set(ids.filter((id, i) => ids.indexOf(id) !== i))) problems.push(`id twice: ${id}`);
    let level = 0;
    const headings = [...document.querySelectorAll("main h1, main h2, main h3")].filter((one) => one.checkVisibility());
    if (headings.filter((one) => one.tagName === "H1").length !== 1) problems.push("not one h1");
    for (const heading of headings) {
        const its = Number(heading.tagName[1]);
        if (its > level + 1) problems.push(`${heading.tagName} after H${level}: ${heading.textContent}`);
        level = its;
    }
    const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    const rgba = (colour) => {
        canvas.clearRect(0, 0, 1, 1);
        canvas.fillStyle = colour;
        canvas.fillRect(0, 0, 1, 1);
        const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
        return [r, g, b, a / 255];
    };
    const luminance = (rgb) => {
        const [r, g, b] = rgb.map((value) => value / 255).map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const over = (front, back) => front.slice(0, 3).map((value, i) => value * front[3] + back[i] * (1 - front[3]));
    const backOf = (element) => {
        const layers = [];
        for (let at = element; at; at = at.parentElement) layers.push(rgba(getComputedStyle(at).backgroundColor));
        return layers.reverse().reduce((back, layer) => over(layer, back), [255, 255, 255]);
    };
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        const element = walker.currentNode.parentElement;
        if (!walker.currentNode.textContent.trim() || !element.checkVisibility() || element.closest("svg, :disabled, .toast, noscript, script, .skip")) continue;
        const style = getComputedStyle(element);
        const back = backOf(element);
        const [a, b] = [luminance(over(rgba(style.color), back)), luminance(back)].sort((x, y) => y - x);
        if ((a + 0.05) / (b + 0.05) < 4.4) problems.push(`contrast ${((a + 0.05) / (b + 0.05)).toFixed(1)}: ${element.outerHTML.slice(0, 100)}`);
    }
    return [...new Set(problems)];
}
