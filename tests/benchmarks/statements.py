"""The hand-written SQL of the LIMIT server: one statement for each operation over the project's tables.

What comes out: by operation, the SQL and which of its arguments are times. JSON is put together as text, which is the fastest
way known on both databases; numbers and times need no escaping, free text does.
"""

from __future__ import annotations

Statements = dict[str, tuple[str, tuple[int, ...]]]


def _postgresql() -> Statements:
    date = "to_char(o.order_date AT TIME ZONE 'UTC','YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')"
    order = f"""'{{"id":"Order:'||o.id||'","orderDate":"'||{date}
        ||'","status":"'||o.status||'","totalAmount":"'||o.total_amount*0.01||'"'"""
    item = """(SELECT '{"name":'||to_json(t.name)||',"price":"'||t.price*0.01||'"}' FROM item t WHERE t.id=x.item_id)"""
    short = """'{"quantity":'||x.quantity||',"pricePaid":"'||x.price_paid*0.01||'"'"""

    def lines(member: str) -> str:
        return f"(SELECT coalesce(string_agg({member}||'}}',',' ORDER BY x.position),'') FROM order_item x WHERE x.order_id=o.id)"

    deep, flat = lines(f"{short}||',\"item\":'||{item}"), lines(short)
    named = """',"customer":'||(SELECT '{"name":'||to_json(c.name)||',"email":'||to_json(c.email)||'}'
        FROM customer c WHERE c.id=o.customer_id)"""
    cursor = f"encode(convert_to('[\"'||{date.replace('o.', 'last.')}||'\",'||last.id||']','UTF8'),'hex')"

    def page(where: str, order_by: str, size: int, count: str = "", more: str = "") -> str:
        """A page with `hasNextPage` and `endCursor`; `more` are members of the order, `count` a condition to count."""
        total = f"'\"totalCount\":'||(SELECT count(*) FROM orders o WHERE {count})||','||" if count else ""
        return f"""WITH p AS (SELECT * FROM orders o WHERE {where} ORDER BY {order_by} LIMIT {size + 1}),
            n AS (SELECT * FROM (SELECT p.*, row_number() OVER () AS n FROM p) o WHERE n<={size})
            SELECT '{{"orders":{{'||{total}'"pageInfo":{{"hasNextPage":'
            ||CASE WHEN (SELECT count(*) FROM p)>{size} THEN 'true' ELSE 'false' END
            ||',"endCursor":'||coalesce((SELECT '"'||{cursor}||'"' FROM n last ORDER BY n DESC LIMIT 1),'null')
            ||'}},"nodes":['||coalesce((SELECT string_agg({order}{more}||'}}',',' ORDER BY o.n) FROM n o),'')||']}}}}'"""

    def nodes(member: str, source: str) -> str:
        return f"""'{{"nodes":['||coalesce((SELECT string_agg({member}||'}}',',') FROM {source} o),'')||']}}'"""

    return {
        "order by id": (
            f"""SELECT '{{"order":'||coalesce((SELECT {order}||'}}' FROM orders o WHERE o.id=$1::bigint),'null')||'}}'""",
            (),
        ),
        "page of 50": (
            f"""SELECT '{{"orders":'||{nodes(order, "(SELECT * FROM orders ORDER BY id LIMIT 50)")}||'}}'""",
            (),
        ),
        "20 nested orders": (
            "SELECT '{\"orders\":'||"
            + nodes(
                f"{order}||{named}||',\"items\":['||{deep}||']'",
                "(SELECT * FROM orders WHERE order_date>=$1::timestamptz AND order_date<$2::timestamptz"
                " ORDER BY order_date,id LIMIT 20)",
            )
            + "||'}'",
            (0, 1),
        ),
        "deep customer": (
            'SELECT \'{"customer":\'||coalesce((SELECT \'{"id":"Customer:\'||c.id||\'","name":\'||'
            "to_json(c.name)||',\"orders\":'||"
            + nodes(
                f"{order}||',\"items\":['||{deep}||']'",
                "(SELECT * FROM orders WHERE customer_id=c.id ORDER BY id LIMIT 100)",
            )
            + "||'}' FROM customer c WHERE c.id=$1::bigint),'null')||'}'",
            (),
        ),
        "1,000 orders with items": (
            "SELECT '{\"orders\":'||"
            + nodes(f"'{{\"id\":\"Order:'||o.id||'\",\"items\":['||{flat}||']'", "(SELECT id FROM orders ORDER BY id LIMIT 1000)")
            + "||'}'",
            (),
        ),
        "where, orderBy": (
            "SELECT '{\"orders\":'||"
            + nodes(
                f"{order}||{named}",
                "(SELECT * FROM orders WHERE status=$1::text AND total_amount>=$2::bigint"
                " ORDER BY total_amount DESC,id DESC LIMIT 20)",
            )
            + "||'}'",
            (),
        ),
        "totalCount": (
            page("o.customer_id=$1::bigint", "o.id", 20, "o.customer_id=$1::bigint"),
            (),
        ),
        "after": (
            page("(o.order_date,o.id)>($1::timestamptz,$2::bigint)", "o.order_date,o.id", 50),
            (0,),
        ),
        "all of these": (
            page(
                "o.status=$3::text AND o.order_date>=$4::timestamptz AND o.order_date<$5::timestamptz"
                " AND (o.order_date,o.id)>($1::timestamptz,$2::bigint)",
                "o.order_date,o.id",
                50,
                "o.status=$3::text AND o.order_date>=$4::timestamptz AND o.order_date<$5::timestamptz",
                f"||{named}",
            ),
            (0, 3, 4),
        ),
        "nested create": (
            """WITH c AS (INSERT INTO customer(version,name,email,created_at,updated_at)
                 VALUES (1,$1::text,$2::text,now(),now()) RETURNING id),
               l AS (SELECT u.n,u.i,u.q,t.price
                 FROM unnest($4::bigint[],$5::int[]) WITH ORDINALITY u(i,q,n) JOIN item t ON t.id=u.i),
               o AS (INSERT INTO orders(version,customer_id,status,order_date,discount,total_amount,created_at,updated_at)
                 SELECT 1,c.id,'PENDING',$3::timestamptz,0,(SELECT sum(price*q) FROM l),now(),now() FROM c RETURNING id),
               x AS (INSERT INTO order_item(order_id,position,item_id,quantity,price_paid)
                 SELECT o.id,l.n,l.i,l.q,l.price FROM o,l RETURNING id,position)
               SELECT '{"createCustomer":{"customer":{"id":"Customer:'||(SELECT id FROM c)||'","orders":{"nodes":[{"id":"Order:'
                 ||(SELECT id FROM o)||'","items":['
                 ||(SELECT string_agg('{"id":"OrderItem:'||id||'"}',',' ORDER BY position) FROM x)
                 ||']}]}}}}'""",
            (2,),
        ),
    }


def _sqlite() -> Statements:
    date = "substr(o.order_date,1,10)||'T'||substr(o.order_date,12,8)||'Z'"
    money = "printf('%d.%02d',{0}/100,{0}%100)".format
    order = f"""'{{"id":"Order:'||o.id||'","orderDate":"'||{date}
        ||'","status":"'||o.status||'","totalAmount":"'||{money("o.total_amount")}||'"'"""
    item = (
        f"""(SELECT '{{"name":'||json_quote(t.name)||',"price":"'||{money("t.price")}||'"}}' FROM item t WHERE t.id=x.item_id)"""
    )
    short = f"""'{{"quantity":'||x.quantity||',"pricePaid":"'||{money("x.price_paid")}||'"'"""

    def lines(member: str) -> str:
        rows = "(SELECT * FROM order_item x WHERE x.order_id=o.id ORDER BY position) x"
        return f"(SELECT coalesce(group_concat({member}||'}}',','),'') FROM {rows})"

    deep, flat = lines(f"{short}||',\"item\":'||{item}"), lines(short)
    named = """',"customer":'||(SELECT '{"name":'||json_quote(c.name)||',"email":'||json_quote(c.email)||'}'
        FROM customer c WHERE c.id=o.customer_id)"""
    cursor = f"lower(hex('[\"'||{date.replace('o.', 'last.')}||'\",'||last.id||']'))"

    def page(where: str, order_by: str, size: int, count: str = "", more: str = "") -> str:
        total = f"'\"totalCount\":'||(SELECT count(*) FROM orders o WHERE {count})||','||" if count else ""
        return f"""WITH p AS MATERIALIZED (SELECT *, row_number() OVER () AS n FROM
            (SELECT * FROM orders o WHERE {where} ORDER BY {order_by} LIMIT {size + 1}))
            SELECT '{{"orders":{{'||{total}'"pageInfo":{{"hasNextPage":'
            ||CASE WHEN (SELECT count(*) FROM p)>{size} THEN 'true' ELSE 'false' END
            ||',"endCursor":'||coalesce((SELECT '"'||{cursor}||'"' FROM p last WHERE n<={size} ORDER BY n DESC LIMIT 1),'null')
            ||'}},"nodes":['||coalesce((SELECT group_concat({order}{more}||'}}',',') FROM p o WHERE n<={size}),'')||']}}}}'"""

    def nodes(member: str, source: str) -> str:
        return f"""'{{"nodes":['||coalesce((SELECT group_concat({member}||'}}',',') FROM {source} o),'')||']}}'"""

    return {
        "order by id": (
            f"""SELECT '{{"order":'||coalesce((SELECT {order}||'}}' FROM orders o WHERE o.id=?1),'null')||'}}'""",
            (),
        ),
        "page of 50": (
            f"""SELECT '{{"orders":'||{nodes(order, "(SELECT * FROM orders ORDER BY id LIMIT 50)")}||'}}'""",
            (),
        ),
        "20 nested orders": (
            "SELECT '{\"orders\":'||"
            + nodes(
                f"{order}||{named}||',\"items\":['||{deep}||']'",
                "(SELECT * FROM orders WHERE order_date>=?1 AND order_date<?2 ORDER BY order_date,id LIMIT 20)",
            )
            + "||'}'",
            (0, 1),
        ),
        "deep customer": (
            'SELECT \'{"customer":\'||coalesce((SELECT \'{"id":"Customer:\'||c.id||\'","name":\'||'
            "json_quote(c.name)||',\"orders\":'||"
            + nodes(
                f"{order}||',\"items\":['||{deep}||']'",
                "(SELECT * FROM orders WHERE customer_id=c.id ORDER BY id LIMIT 100)",
            )
            + "||'}' FROM customer c WHERE c.id=?1),'null')||'}'",
            (),
        ),
        "1,000 orders with items": (
            "SELECT '{\"orders\":'||"
            + nodes(f"'{{\"id\":\"Order:'||o.id||'\",\"items\":['||{flat}||']'", "(SELECT id FROM orders ORDER BY id LIMIT 1000)")
            + "||'}'",
            (),
        ),
        "where, orderBy": (
            "SELECT '{\"orders\":'||"
            + nodes(
                f"{order}||{named}",
                "(SELECT * FROM orders WHERE status=?1 AND total_amount>=?2 ORDER BY total_amount DESC,id DESC LIMIT 20)",
            )
            + "||'}'",
            (),
        ),
        "totalCount": (page("o.customer_id=?1", "o.id", 20, "o.customer_id=?1"), ()),
        "after": (page("(o.order_date,o.id)>(?1,?2)", "o.order_date,o.id", 50), (0,)),
        "all of these": (
            page(
                "o.status=?3 AND o.order_date>=?4 AND o.order_date<?5 AND (o.order_date,o.id)>(?1,?2)",
                "o.order_date,o.id",
                50,
                "o.status=?3 AND o.order_date>=?4 AND o.order_date<?5",
                f"||{named}",
            ),
            (0, 3, 4),
        ),
    }


POSTGRESQL, SQLITE = _postgresql(), _sqlite()
