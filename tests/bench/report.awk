# report.awk - the figures as text, Markdown or JSON (-v format=...), from
# rows.txt and the medians: CASE SYSTEM KEY MEDIAN RUNS LEAST MOST, tab separated.

function trim(s) {
	gsub(/^[ \t]+|[ \t]+$/, "", s)
	return s
}

# Four significant digits, grouped.
function number(v,   s, digits, out) {
	if (v == "")
		return ""
	if (v + 0 >= 1000) {
		digits = 1
		while (v / digits >= 10000)
			digits *= 10
		s = sprintf("%.0f", int(v / digits + 0.5) * digits)
		while (length(s) > 3) {
			out = "," substr(s, length(s) - 2) out
			s = substr(s, 1, length(s) - 3)
		}
		return s out
	}
	return sprintf("%.3g", v)
}

function at(place) {
	return place in median ? median[place] : ""
}

# Whether the goal is met: yes, no, or "" if it was not measured.
function judge(goal, value, ratio,   g, have) {
	if (goal == "-" || value == "")
		return ""
	split(goal, g, " ")
	have = g[1] == "ratio" ? ratio : value
	if (have == "")
		return ""
	if (g[2] == ">=")
		return have + 0 >= g[3] + 0 ? "yes" : "no"
	return have + 0 <= g[3] + 0 ? "yes" : "no"
}

function quote(s) {
	gsub(/[\\"]/, "\\\\&", s)
	return "\"" s "\""
}

function json_number(v) {
	return v == "" ? "null" : sprintf("%.6g", v)
}

FNR == NR {
	if ($0 ~ /^#/ || $0 !~ /\|/)
		next
	split($0, f, "|")
	rows++
	id[rows] = trim(f[1])
	title[rows] = trim(f[2])
	unit[rows] = trim(f[3])
	value_at[rows] = trim(f[4])
	beside_at[rows] = trim(f[5])
	goal[rows] = trim(f[6])
	better[rows] = trim(f[7])
	next
}

{
	split($0, f, "\t")
	if (f[1] == "environment") {
		environment[++facts] = f[3]
		fact[facts] = f[4]
	} else if (f[3] == "missing") {
		why[++gaps] = f[1] " " f[2] ": " f[4]
	} else {
		median[f[1] " " f[2] " " f[3]] = f[4]
		runs[++measured] = "{\"case\":" quote(f[1]) ",\"system\":" \
		    quote(f[2]) ",\"key\":" quote(f[3]) ",\"median\":" \
		    json_number(f[4]) ",\"runs\":" f[5] ",\"least\":" \
		    json_number(f[6]) ",\"most\":" json_number(f[7]) "}"
	}
}

function compute(i,   part) {
	split(value_at[i], part, " ")
	value = at(value_at[i])
	beside = beside_at[i] == "-" ? "" : at(beside_at[i])
	against = ""
	if (beside_at[i] != "-") {
		split(beside_at[i], other, " ")
		against = other[2]
		if (other[1] != part[1])
			against = other[1]
	}
	ratio = value != "" && beside + 0 > 0 ? value / beside : ""
	met = judge(goal[i], value, ratio)
	redis = at(part[1] " redis " part[3])
	nats = at(part[1] " nats " part[3])
}

# A line of cells, as Markdown or padded text.
function line(a, b, c, d, e, f, g, h, k, l) {
	if (format == "markdown")
		printf "| %s | %s | %s | %s | %s | %s | %s | %s | %s | %s |\n",
		    a, b, c, d, e, f, g, h, k, l
	else
		printf "%-4s%-62s %-6s %10s %18s %6s %-13s %-4s %10s %10s\n",
		    a, b, c, d, e, f, g, h, k, l
}

function table(   i) {
	line("", "figure", "unit", "Leat", "beside", "ratio", "goal", "met",
	    "Redis", "NATS")
	if (format == "markdown")
		print "|---|---|---|---:|---:|---:|---|---|---:|---:|"
	for (i = 1; i <= rows; i++) {
		compute(i)
		if (value == "" && beside == "")
			continue
		line(id[i], title[i], unit[i], number(value),
		    beside == "" ? "" : against " " number(beside),
		    ratio == "" ? "" : sprintf("%.2f", ratio),
		    goal[i] == "-" ? "" : goal[i], met, number(redis),
		    number(nats))
	}
	print ""
	for (i = 1; i <= gaps; i++)
		print (format == "markdown" ? "- " : "") "not measured: " why[i]
	for (i = 1; i <= facts; i++)
		print (format == "markdown" ? "- " : "") environment[i] ": " fact[i]
}

function json(   i, sep) {
	printf "{\"environment\":{"
	for (i = 1; i <= facts; i++)
		printf "%s%s:%s", (i > 1 ? "," : ""), quote(environment[i]), quote(fact[i])
	printf "},\n\"figures\":["
	for (i = 1; i <= rows; i++) {
		compute(i)
		if (value == "" && beside == "")
			continue
		printf "%s\n{\"id\":%s,\"title\":%s,\"unit\":%s,\"better\":%s,\"leat\":%s,\"beside\":%s,\"beside_value\":%s,\"ratio\":%s,\"goal\":%s,\"met\":%s,\"redis\":%s,\"nats\":%s}",
		    sep, quote(id[i]), quote(title[i]), quote(unit[i]),
		    quote(better[i]), json_number(value), quote(against),
		    json_number(beside), json_number(ratio),
		    goal[i] == "-" ? "null" : quote(goal[i]),
		    met == "" ? "null" : (met == "yes" ? "true" : "false"),
		    json_number(redis), json_number(nats)
		sep = ","
	}
	printf "],\n\"not_measured\":["
	for (i = 1; i <= gaps; i++)
		printf "%s%s", (i > 1 ? "," : ""), quote(why[i])
	printf "],\n\"measurements\":["
	for (i = 1; i <= measured; i++)
		printf "%s\n%s", (i > 1 ? "," : ""), runs[i]
	print "]}"
}

END {
	if (format == "json")
		json()
	else
		table()
}
