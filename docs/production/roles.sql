-- The two roles, the database and the grants that every table gets as it is made. Run by psql as an administrator of the server, with
-- OWNER_PASSWORD and APP_PASSWORD in the environment.
\getenv owner_password OWNER_PASSWORD
\getenv app_password APP_PASSWORD
CREATE ROLE ordergraph_owner LOGIN PASSWORD :'owner_password';
CREATE ROLE ordergraph LOGIN PASSWORD :'app_password';
GRANT ordergraph_owner TO CURRENT_USER;
CREATE DATABASE ordergraph OWNER ordergraph_owner ENCODING 'UTF8' TEMPLATE template0;
REVOKE ALL ON DATABASE ordergraph FROM PUBLIC;
GRANT CONNECT ON DATABASE ordergraph TO ordergraph;
\connect ordergraph
ALTER DEFAULT PRIVILEGES FOR ROLE ordergraph_owner GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO ordergraph;
ALTER DEFAULT PRIVILEGES FOR ROLE ordergraph_owner GRANT USAGE ON SEQUENCES TO ordergraph;
ALTER DEFAULT PRIVILEGES FOR ROLE ordergraph_owner GRANT USAGE ON SCHEMAS TO ordergraph; -- of shops, where there are many
