"""Documents made from what actually ran: notice, records, assessment, reports, inventory."""
