DROP TABLE ehr_note;
DROP TABLE ehr_run;
DROP TABLE ehr_review;
DROP TABLE ehr_page;
DROP TABLE ehr_member;
DROP TABLE ehr_record;
DROP TABLE ehr_walk;
DROP TABLE ehr_tenant;
