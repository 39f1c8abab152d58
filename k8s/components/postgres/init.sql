-- Each service owns its own database.
CREATE DATABASE campaign_api;
CREATE DATABASE scheduler;
CREATE DATABASE segment_evaluator;
CREATE DATABASE sms_dispatcher;
CREATE DATABASE email_dispatcher;
CREATE DATABASE billing;
