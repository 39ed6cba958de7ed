/* SPDX-License-Identifier: Apache-2.0
 * See chart.h. Failure policy: the text's sticky flag. */
#include "dispatcher/hub/chart.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define WIDTH 320.0
#define HEIGHT 90.0

/* 1, 2 or 5 times a power of ten, at least v. */
static double round_up(double v)
{
    if (!(v > 0))
        return 1;
    double unit = pow(10, floor(log10(v)));
    for (int i = 0; i < 3; i++) {
        static const double steps[] = {1, 2, 5};
        if (steps[i] * unit >= v)
            return steps[i] * unit;
    }
    return 10 * unit;
}

static double highest(const struct chart *c)
{
    double max = 0;
    for (int l = 0; l < CHART_LINES && c->line[l].name; l++)
        for (unsigned i = 0; i < c->points; i++)
            if (c->line[l].value[i] > max) /* false for NAN */
                max = c->line[l].value[i];
    return max;
}

void chart_number(double v, struct text *out)
{
    char digits[32];
    if (v < 10 && v != floor(v)) {
        text_printf(out, "%.*f", v < 0.1 ? 4 : 1, v);
        return;
    }
    int n = snprintf(digits, sizeof digits, "%.0f", v < 1e18 ? v : 1e18);
    for (int i = 0; i < n; i++) {
        text_add(out, &digits[i], 1);
        if ((n - i) % 3 == 1 && i + 1 < n)
            text_add(out, ",", 1);
    }
}

/* A point without neighbours is a dot: a line of no length, with round ends. */
static void draw(const struct chart *c, int l, double top, struct text *out)
{
    unsigned run = 0;
    text_printf(out, "<path class=\"l%d\" d=\"", l);
    for (unsigned i = 0; i < c->points; i++) {
        double v = c->line[l].value[i];
        double x = WIDTH * (1 - c->age_s[i] / c->span_s);
        bool drawn = !isnan(v) && x >= 0;
        if (drawn)
            text_printf(out, "%s%.1f %.1f", run ? "L" : "M", x, HEIGHT * (1 - v / top));
        else if (run == 1)
            text_printf(out, "h0");
        run = drawn ? run + 1 : 0;
    }
    text_printf(out, "%s\"/>", run == 1 ? "h0" : "");
}

void chart_svg(const struct chart *c, struct text *out)
{
    double top = round_up(highest(c));
    text_printf(out, "<figure><figcaption>%s</figcaption><svg viewBox=\"0 -2 %.0f %.0f\" role=\"img\">", c->title,
                WIDTH, HEIGHT + 14);
    text_printf(out, "<title>%s</title><path class=\"grid\" d=\"M0 0H%.0fM0 %.0fH%.0fM0 %.0fH%.0f\"/>", c->title, WIDTH,
                HEIGHT / 2, WIDTH, HEIGHT, WIDTH);
    for (int l = CHART_LINES - 1; l >= 0; l--) /* the first on top */
        if (c->line[l].name)
            draw(c, l, top, out);
    text_printf(out, "<text x=\"2\" y=\"9\">");
    chart_number(top, out);
    text_printf(out, "%s%s</text><text x=\"2\" y=\"%.0f\">%.0f min ago</text>", *c->unit ? " " : "", c->unit,
                HEIGHT + 10, c->span_s / 60);
    text_printf(out, "<text x=\"%.0f\" y=\"%.0f\" class=\"end\">now</text></svg><p>", WIDTH - 2, HEIGHT + 10);
    for (int l = 0; l < CHART_LINES && c->line[l].name; l++) {
        text_printf(out, "<span class=\"k%d\">%s <b", l, c->line[l].name);
        if (c->line[l].metric)
            text_printf(out, " data-metric='%s' data-value=\"%.17g\"", c->line[l].metric, c->line[l].now);
        text_printf(out, ">");
        chart_number(c->line[l].now, out);
        text_printf(out, "</b></span> ");
    }
    text_printf(out, "</p></figure>\n");
}
