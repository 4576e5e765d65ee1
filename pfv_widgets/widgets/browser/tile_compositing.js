// How a page puts the tiles of a gallery together.

// Tiles in rows, as Grid in geometry.py.
class Grid {
  constructor([number, columns, height, width, strip], gap) {
    const rows = Math.ceil(number / columns), across = width + gap, down = height + strip + gap;
    Object.assign(this, { number, columns, height, width, strip, gap, rows, across, down });
  }
  get size() {
    const { rows, columns, across, down, gap } = this;
    return { height: rows * down - gap, width: columns * across - gap };
  }
  corner(index) {
    const row = Math.floor(index / this.columns), column = index % this.columns;
    return [column * this.across, row * this.down];
  }
  panes(index, [across, down]) {
    const [left, top] = this.corner(index), boxes = [];
    const width = this.width / across, height = this.height / down;
    for (let row = 0; row < down; row++)
      for (let column = 0; column < across; column++)
        boxes.push([left + column * width, top + row * height, width, height]);
    return boxes;
  }
  box(index) {
    return this.panes(index, [1, 1])[0];
  }
  // The tile at a point of the canvas, and how far across it the point is; nothing beside tiles.
  at(x, y) {
    const { across, down } = this;
    const column = Math.floor(x / across), index = Math.floor(y / down) * this.columns + column;
    const on = x % across < this.width && y % down < this.height && column < this.columns;
    return on && index < this.number ? (x % across) / this.width : undefined;
  }
  gaps() {
    const { rows, columns, number, across, down, strip, gap, size: { height, width } } = this;
    const below = strip + gap, strips = [];
    for (let c = 1; c < columns; c++) strips.push([c * across - gap, 0, gap, height]);
    for (let r = 1; r < rows; r++) strips.push([0, r * down - below, width, below]);
    if (strip) strips.push([0, height - strip, width, strip]);
    if (rows * columns > number) {
      const [left, top] = this.corner(number);
      strips.push([left, top, width - left, this.height]);
    }
    return strips;
  }
}

// A picture of the gallery, as Tiles in tile_compositing.py draws it: `description` is what the
// kernel says of it, `look` the opacity, view and split that are wanted, `views` what the engine
// says of each view.
class Tiles {
  constructor(buffers, description, look, { gap, views }) {
    Object.assign(this, description, { look, gap, view: views[look.view] });
    [this.photos, this.heat, this.large] = buffers.map(({ canvas }) => canvas);
    const { sides, wide, panes } = this.view, { grids } = description;
    this.stored = new Grid(grids[1], gap);
    this.grid = new Grid(grids[wide ? sides[0] : 1], gap);
    this.divided = panes.flat().some((layer) => layer.divided);
    this.indices = [...Array(this.stored.number).keys()];
  }
  draw(ctx) {
    this.ctx = ctx;
    ctx.save();
    ctx.globalCompositeOperation = "source-over";
    if (this.view.panes.length === 1) this.drawInOnePiece();
    else this.drawPanes();
    this.mark();
    ctx.restore();
  }
  // Without heatmaps, the first pane shows the photo.
  layers(number) {
    if (this.step) return this.view.panes[number];
    return number ? [] : [{ source: "photo", opacity: 1 }];
  }
  drawInOnePiece() {
    const heat = this.enlarged ? [this.large, 1] : [this.heat, this.step];
    for (const layer of this.layers(0)) {
      const best = layer.source === "heatmap" ? heat : [this.photos, 1];
      this.ctx.globalAlpha = layer.opacity ?? this.look.opacity;
      if (layer.divided) this.inside(this.rightParts(), () => this.drawWhole(...best));
      else this.drawWhole(...best);
    }
    for (const gap of this.grid.gaps()) this.ctx.clearRect(...gap);
  }
  drawPanes() {
    const { ctx, grid: { size } } = this;
    ctx.clearRect(0, 0, size.width, size.height);
    for (const index of this.indices)
      this.grid.panes(index, this.view.sides).forEach((box, number) => {
        for (const layer of this.layers(number)) this.drawLayer(layer, index, box);
      });
  }
  drawLayer({ source, opacity, tint }, index, box) {
    const { ctx } = this, best = source === "heatmap" ? [this.heat, this.step] : [this.photos, 1];
    ctx.globalAlpha = opacity ?? this.look.opacity;
    this.drawOne(...best, index, box);
    if (!tint) return;
    ctx.globalCompositeOperation = "multiply";
    this.fill(this.colour(tint), [box]);
    ctx.globalCompositeOperation = "source-over";
  }
  colour(parts) {
    return `rgb(${parts.map((part) => Math.floor(255 * part + 0.5))})`;
  }
  // A buffer whose cells are 1/step of a tile, with half a gap around it.
  drawWhole(buffer, step) {
    const at = -this.half(step);
    this.ctx.drawImage(buffer, at, at, buffer.width * step, buffer.height * step);
  }
  // One tile of a buffer in a box of any size.
  drawOne(buffer, step, index, box) {
    const [left, top, width, height] = box, [x, y] = this.stored.corner(index);
    const across = width / this.stored.width, down = height / this.stored.height;
    const at = [left - (x + this.half(step)) * across, top - (y + this.half(step)) * down];
    const size = [buffer.width * step * across, buffer.height * step * down];
    this.inside([box], () => this.ctx.drawImage(buffer, ...at, ...size));
  }
  half(step) {
    return Math.floor(Math.floor(this.gap / step) / 2) * step;
  }
  rightParts() {
    return this.indices.map((index) => {
      const [left, top, width, height] = this.grid.box(index);
      const cut = Math.floor(width * this.look.split + 0.5);
      return [left + cut, top, width - cut, height];
    });
  }
  mark() {
    const { ctx, grid, dimming: [grey, strength] } = this;
    ctx.globalAlpha = strength;
    this.fill(this.colour([grey, grey, grey]), this.out.map((index) => grid.box(index)));
    ctx.globalAlpha = 1;
    if (this.divided) {
      const lines = this.rightParts().map(([left, top, _, height]) => [left - 2, top, 4, height]);
      this.fill("#ffffff", lines);
    }
    if (this.cursor !== null)
      for (const [colour, line] of [["#ffffff", 10], ["#1a73e8", 6]])
        this.stroke(colour, line, () => ctx.strokeRect(...grid.box(this.cursor)));
    for (const ring of this.rings) this.drawRing(ring);
    if (this.frame.length) this.drawFrame(...this.frame);
  }
  drawRing([index, across, down, colour, bold]) {
    for (const [left, top, width, height] of this.grid.panes(index, this.view.sides)) {
      const least = Math.max(7, Math.min(0.07 * Math.min(width, height), 22));
      const line = bold ? 6 : 4, radius = least * (bold ? 1.35 : 1);
      for (const [rim, wide] of [["#000000", line + 3], [colour, line]])
        this.stroke(rim, wide, () => {
          this.ctx.beginPath();
          this.ctx.arc(left + across * width, top + down * height, radius, 0, 2 * Math.PI);
          this.ctx.stroke();
        });
    }
  }
  drawFrame([index, x, y], [, right, bottom]) {
    for (const [left, top, width, height] of this.grid.panes(index, this.view.sides)) {
      const box = [left + x * width, top + y * height, (right - x) * width, (bottom - y) * height];
      for (const [colour, line] of [["#000000", 5], ["#ffffff", 3]])
        this.stroke(colour, line, () => this.ctx.strokeRect(...box));
    }
  }
  inside(boxes, draw) {
    this.ctx.save();
    this.ctx.beginPath();
    for (const box of boxes) this.ctx.rect(...box);
    this.ctx.clip();
    draw();
    this.ctx.restore();
  }
  fill(colour, boxes) {
    this.ctx.fillStyle = colour;
    for (const box of boxes) this.ctx.fillRect(...box);
  }
  stroke(colour, line, draw) {
    Object.assign(this.ctx, { strokeStyle: colour, lineWidth: line });
    draw();
  }
}
