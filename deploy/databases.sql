-- Databases and their owners, made once, when the volume of PostgreSQL is empty.
\getenv mlflow MLFLOW_DATABASE_PASSWORD
\getenv optuna OPTUNA_DATABASE_PASSWORD
CREATE ROLE mlflow LOGIN PASSWORD :'mlflow';
CREATE ROLE optuna LOGIN PASSWORD :'optuna';
CREATE DATABASE mlflow OWNER mlflow;
CREATE DATABASE mlflow_accounts OWNER mlflow;
CREATE DATABASE optuna OWNER optuna;
REVOKE CONNECT ON DATABASE mlflow, mlflow_accounts, optuna FROM PUBLIC;
