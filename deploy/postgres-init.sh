# Sourced once by the image, on an empty volume: a role and a database for each of the two, which can not see each other.
make_database() { # NAME
  psql -v ON_ERROR_STOP=1 -v name="$1" -v password="$(cat "/run/secrets/$1_database_password")" \
    -U "$POSTGRES_USER" -d postgres <<'SQL'
CREATE ROLE :"name" LOGIN PASSWORD :'password';
CREATE DATABASE :"name" OWNER :"name";
REVOKE CONNECT ON DATABASE :"name" FROM PUBLIC;
SQL
}
make_database airflow
make_database site
