# draw.awk - a picture (SVG) of raw results, raw/CASE.SYSTEM.ROUND.json:
#   -v kind=histogram  time of a message, logarithmic, against the share of
#                      messages; the rounds of a system added up
#   -v kind=slices     messages a second over time, logarithmic; a line a round
# and -v title=... Colours can be told apart by the colour-blind.

BEGIN {
	width = 1060; height = 420
	left = 70; right = 310; top = 44; bottom = 52
	split("leat group limit pipe redis nats", order, " ")
	colour["leat"] = "#0072b2"; name["leat"] = "Leat"
	colour["group"] = "#56b4e9"; name["group"] = "Leat, group"
	colour["limit"] = "#555555"; name["limit"] = "limit"
	colour["pipe"] = "#000000"; name["pipe"] = "bare pipe"
	colour["redis"] = "#d55e00"; name["redis"] = "Redis Streams"
	colour["nats"] = "#009e73"; name["nats"] = "NATS JetStream"
	bins = 24 # a decade
}

function log10(v) {
	return log(v) / log(10)
}

# Pairs of numbers of a list of two-member objects: a[1..n], b[1..n].
function read_list(text, list, first, a, b,   n, s, at, end) {
	at = index(text, "\"" list "\":[")
	if (!at)
		return 0
	text = substr(text, at)
	text = substr(text, 1, index(text, "]"))
	n = 0
	while ((at = index(text, "\"" first "\":"))) {
		text = substr(text, at + length(first) + 3)
		n++
		a[n] = text + 0
		s = substr(text, index(text, "\"messages\":") + 11)
		b[n] = s + 0
		text = s
	}
	return n
}

function read_value(text, key,   at) {
	at = index(text, "\"" key "\":")
	return at ? substr(text, at + length(key) + 3) + 0 : 0
}

{
	parts = split(FILENAME, part, ".")
	system_ = part[parts - 2]
	round_ = part[parts - 1]
	if (kind == "histogram") {
		n = read_list($0, "histogram", "us", x, y)
		for (i = 1; i <= n; i++) {
			if (x[i] <= 0)
				continue
			bin = int(log10(x[i]) * bins + 1000 * bins) - 1000 * bins
			share[system_, bin] += y[i]
			total[system_] += y[i]
		}
		delete x
		delete y
	} else {
		n = read_list($0, "slices", "ms", x, y)
		# The last slice is not a whole one.
		for (i = 1; i < n; i++) {
			rate = y[i] * 10
			line[system_, round_] = line[system_, round_] " " x[i] / 1000 " " rate
			if (x[i] / 1000 > most_x)
				most_x = x[i] / 1000
			if (rate > most_y)
				most_y = rate
			if (rate > 0 && (!least_y || rate < least_y))
				least_y = rate
		}
		delete x
		delete y
		if (round_ > rounds)
			rounds = round_
		total[system_]++
	}
}

function px(v) {
	return left + (v - x0) / (x1 - x0) * (width - left - right)
}

function py(v) {
	return height - bottom - (v - y0) / (y1 - y0) * (height - top - bottom)
}

function escape(s) {
	gsub(/&/, "\\&amp;", s)
	gsub(/</, "\\&lt;", s)
	return s
}

function text(x, y, anchor, s, fill) {
	printf "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\" fill=\"%s\">%s</text>\n",
	    x, y, anchor, fill == "" ? "#333" : fill, escape(s)
}

function rule(xa, ya, xb, yb) {
	printf "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" stroke=\"#ddd\"/>\n",
	    xa, ya, xb, yb
}

function path(points, system_) {
	printf "<polyline fill=\"none\" stroke=\"%s\" stroke-width=\"1.8\" stroke-linejoin=\"round\" points=\"%s\"/>\n",
	    colour[system_], points
}

function power(d,   v) {
	v = 10 ^ d
	if (kind == "histogram")
		return v >= 1000000 ? v / 1000000 " s" : v >= 1000 ? v / 1000 " ms" : v " us"
	return v >= 1000000 ? v / 1000000 " M" : v >= 1000 ? v / 1000 " k" : v
}

function duration(us) {
	return us >= 1000 ? sprintf("%.3g ms", us / 1000) : sprintf("%.3g us", us)
}

function frame(   d, v, step) {
	printf "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" font-family=\"sans-serif\" font-size=\"12\">\n",
	    width, height
	printf "<rect width=\"%d\" height=\"%d\" fill=\"#fff\"/>\n", width, height
	printf "<text x=\"%d\" y=\"22\" font-size=\"15\" fill=\"#111\">%s</text>\n",
	    left, escape(title)
}

function legend(   i, k, y) {
	y = top + 8
	for (i = 1; i in order; i++) {
		k = order[i]
		if (!(k in total))
			continue
		printf "<rect x=\"%d\" y=\"%d\" width=\"18\" height=\"3\" fill=\"%s\"/>\n",
		    width - right + 16, y - 5, colour[k]
		text(width - right + 40, y, "start", name[k] note[k], "#111")
		y += 17
	}
}

# Time at which a share q of the messages had arrived.
function quantile(k, q,   b, sum) {
	for (b = low; b <= high; b++) {
		sum += share[k, b]
		if (sum >= q * total[k])
			return 10 ^ ((b + 1) / bins)
	}
	return 0
}

function histograms(   i, k, b, d, points, most, seen, step) {
	low = 10000; high = -10000
	for (k in share) {
		split(k, part, SUBSEP)
		if (part[2] + 0 < low)
			low = part[2] + 0
		if (part[2] + 0 > high)
			high = part[2] + 0
		if (share[k] / total[part[1]] > most)
			most = share[k] / total[part[1]]
	}
	if (high < low)
		exit
	x0 = int(low / bins + 100) - 100
	x1 = int(high / bins + 100) - 99
	y0 = 0
	y1 = most * 1.05
	frame()
	for (d = x0; d <= x1; d++) {
		rule(px(d), top, px(d), height - bottom)
		text(px(d), height - bottom + 18, "middle", power(d))
	}
	step = y1 > 0.4 ? 0.1 : y1 > 0.2 ? 0.05 : 0.02
	for (d = 0; d <= y1; d += step) {
		rule(left, py(d), width - right, py(d))
		text(left - 8, py(d) + 4, "end", sprintf("%.0f %%", 100 * d))
	}
	text((left + width - right) / 2, height - 12, "middle",
	    "one way, publisher to consumer (24 steps a decade, all rounds)")
	for (i = 1; i in order; i++) {
		k = order[i]
		if (!(k in total))
			continue
		points = ""
		seen = 0
		for (b = low; b <= high; b++) {
			if (!seen && !share[k, b])
				continue
			seen += share[k, b]
			points = points sprintf("%.1f,%.1f ", px((b + 0.5) / bins),
			    py(share[k, b] / total[k]))
			if (seen >= total[k])
				break
		}
		path(points, k)
		note[k] = ": p50 " duration(quantile(k, 0.5)) ", p99 " \
		    duration(quantile(k, 0.99))
	}
	legend()
}

function curves(   i, k, r, n, v, d, points, step) {
	if (!most_y)
		exit
	x0 = 0
	x1 = most_x
	y0 = int(log10(least_y))
	y1 = int(log10(most_y)) + 1
	frame()
	for (d = y0; d <= y1; d++) {
		rule(left, py(d), width - right, py(d))
		text(left - 8, py(d) + 4, "end", power(d))
	}
	step = x1 > 20 ? 5 : x1 > 5 ? 1 : x1 > 2 ? 0.5 : 0.1
	for (v = 0; v <= x1 + step / 100; v += step) {
		rule(px(v), top, px(v), height - bottom)
		text(px(v), height - bottom + 18, "middle", v)
	}
	text((left + width - right) / 2, height - 12, "middle",
	    "seconds since the start; messages a second in each 100 ms (at the bottom: none), a line for each round")
	for (i = 1; i in order; i++) {
		k = order[i]
		for (r = 1; r <= rounds; r++) {
			n = split(line[k, r], v_, " ")
			points = ""
			for (d = 1; d < n; d += 2)
				points = points sprintf("%.1f,%.1f ", px(v_[d]),
				    py(v_[d + 1] > 0 ? log10(v_[d + 1]) : y0))
			if (points != "")
				path(points, k)
		}
	}
	legend()
}

END {
	if (kind == "histogram")
		histograms()
	else
		curves()
	print "</svg>"
}
