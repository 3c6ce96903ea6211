CREATE MACRO element_at(m, k) AS m[k]

CREATE MACRO approx_distinct(x) AS approx_count_distinct(x)

CREATE MACRO date_diff(u, a, b) AS date_sub(u, a, b)

CREATE MACRO date_add(u, n, t) AS t + CASE lower(u)
  WHEN 'millisecond' THEN to_milliseconds(n) WHEN 'second' THEN to_seconds(n) WHEN 'minute' THEN to_minutes(n) WHEN 'hour' THEN to_hours(n)
  WHEN 'day' THEN to_days(CAST(n AS INTEGER)) WHEN 'week' THEN to_weeks(CAST(n AS INTEGER)) WHEN 'month' THEN to_months(CAST(n AS INTEGER))
  WHEN 'quarter' THEN to_months(CAST(3 * n AS INTEGER)) WHEN 'year' THEN to_years(CAST(n AS INTEGER))
  ELSE error('INVALID_FUNCTION_ARGUMENT: ''' || u || ''' is not a valid TIMESTAMP field') END

CREATE MACRO day_of_week(t) AS isodow(t)

CREATE MACRO day_of_month(t) AS day(t)

CREATE MACRO day_of_year(t) AS dayofyear(t)

CREATE MACRO date(x) AS CAST(x AS DATE)

CREATE MACRO from_iso8601_timestamp(x) AS CAST(x AS TIMESTAMPTZ)

CREATE MACRO from_iso8601_date(x) AS CAST(x AS DATE)

CREATE MACRO to_iso8601(t) AS CASE typeof(t) WHEN 'DATE' THEN strftime(t, '%Y-%m-%d') WHEN 'TIMESTAMP WITH TIME ZONE' THEN strftime(t, '%Y-%m-%dT%H:%M:%S.%gZ') ELSE strftime(t, '%Y-%m-%dT%H:%M:%S.%g') END

CREATE MACRO from_unixtime(n) AS to_timestamp(n)

CREATE MACRO to_unixtime(t) AS epoch(t)

CREATE MACRO at_timezone(t, z) AS timezone(z, t)

CREATE MACRO date_format(t, f) AS strftime(t, replace(replace(replace(f, '%i', '%M'), '%s', '%S'), '%f', '%f'))

CREATE MACRO format_datetime(t, f) AS strftime(t, replace(replace(replace(replace(replace(replace(replace(f, 'yyyy', '%Y'), 'MM', '%m'), 'dd', '%d'), 'HH', '%H'), 'mm', '%M'), 'ss', '%S'), 'SSS', '%g'))

CREATE MACRO regexp_like(s, p) AS regexp_matches(s, p)

CREATE MACRO regexp_extract(s, p) AS (CASE WHEN regexp_matches(s, p) THEN system.main.regexp_extract(s, p) END),
  (s, p, n) AS (CASE WHEN regexp_matches(s, p) THEN system.main.regexp_extract(s, p, n) END)

CREATE MACRO regexp_replace(s, p) AS system.main.regexp_replace(s, p, '', 'g'),
  (s, p, r) AS system.main.regexp_replace(s, p, replace(r, '$', '\'), 'g')

CREATE MACRO json_extract_scalar(j, p) AS (CASE WHEN json_type(j, p) NOT IN ('OBJECT', 'ARRAY') THEN json_extract_string(j, p) END)

CREATE MACRO array_join(a, s) AS array_to_string(list_filter(a, lambda x: x IS NOT NULL), s),
  (a, s, n) AS array_to_string(list_transform(a, lambda x: coalesce(CAST(x AS VARCHAR), n)), s)

CREATE MACRO map_agg(k, v) AS map_from_entries(array_agg((k, v)))

CREATE MACRO slice(a, f, n) AS list_slice(a, f, f + n - 1)

CREATE MACRO sequence(a, b) AS system.main.generate_series(a, b),
  (a, b, s) AS system.main.generate_series(a, b, s)

CREATE MACRO to_hex(b) AS hex(b)

CREATE MACRO truncate(x) AS trunc(x)

CREATE MACRO every(x) AS bool_and(x)

CREATE MACRO millisecond(t) AS CAST(date_part('millisecond', t) AS BIGINT) % 1000

CREATE MACRO cardinality(x) AS CASE json_type(to_json(x)) WHEN 'ARRAY' THEN CAST(json_array_length(to_json(x)) AS BIGINT) WHEN 'OBJECT' THEN len(json_keys(to_json(x))) END

CREATE MACRO to_utf8(s) AS encode(s)

CREATE MACRO sha256(b) AS CASE typeof(b) WHEN 'BLOB' THEN unhex(system.main.sha256(b)) ELSE error('FUNCTION_NOT_FOUND: Unexpected parameters (' || lower(typeof(b)) || ') for function sha256. Expected: sha256(varbinary)') END
