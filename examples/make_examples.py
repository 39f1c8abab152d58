#!/usr/bin/env python3
"""Make the example data: customers.csv, activity.csv and expected_rejects.csv.

Input is CDNOW_sample.txt (Fader & Hardie, public): customer id, sample id, date, units, dollars.
Who bought what, when and for how much is theirs; every name, address, birthday and preference
is invented here. The same input and the same --today give byte-identical files.

Python 3.11, standard library only.
"""

import argparse
import calendar
import csv
import datetime as dt
import io
import random
import re
import sys
import unicodedata
from collections import Counter, defaultdict
from pathlib import Path

# The last purchase of the sample is moved to the day before this date, and all others with it.
TODAY = "2026-11-23"
SEED = "carillon-examples-1"

HEADER = (
    "external_id,cards,first_name,last_name,display_name,phone,email,birthday,language,time_zone,"
    "categories,points,favourite,consent,subscribe_sms,subscribe_email,joined_at,"
    "attr.city,attr.shirt_size"
).split(",")
ACTIVITY_HEADER = "event_id,external_id,kind,at,amount,rating".split(",")

# --------------------------------------------------------------------------------------------
# Telephone numbers: only ranges that the national numbering authority keeps for fiction, and of
# those only what libphonenumber 9.0.33 counts as a valid number. That second condition leaves out
# some well-known ranges, whose numbers are reserved but not "valid" in its metadata: United Kingdom
# +44 7700 900xxx, +44 1632 960xxx and +44 115 496 0xxx, France +33 6 39 98 xx xx, Ireland +353 20 91x xxxx.
#
# United States, Canada, Puerto Rico: NANPA, "555 Line Numbers": 555-0100 to 555-0199 are kept for
#   fiction in every area code. https://nationalnanpa.com/number_resource_info/555_numbers.html
# United Kingdom: Ofcom, "Telephone numbers for use in TV and radio drama programmes".
#   https://www.ofcom.org.uk/phones-and-broadband/phone-numbers/numbers-for-drama
# Germany: Bundesnetzagentur, Mitteilung 148/2021 (Amtsblatt 7/2021), "Rufnummern für
#   Medienproduktionen (Drama Numbers)".
#   https://www.bundesnetzagentur.de/SharedDocs/Downloads/DE/Sachgebiete/Telekommunikation/Unternehmen_Institutionen/Nummerierung/Rufnummern/Mittlg148_2021.pdf
# France: Arcep, décision 2018-0881 (plan national de numérotation), numbers for audiovisual works:
#   01 99 00, 02 61 91, 03 53 01, 04 65 71, 05 36 49 xx xx.  https://www.arcep.fr/
# Sweden: PTS, "Telefonnummer för användning i böcker och filmer etc.": 070-174 06 05 to 06 99.
#   https://www.pts.se/sv/bransch/telefoni/nummer-och-adressering/telefonnummer-for-anvandning-i-bocker-och-filmer-etc/
# Australia: ACMA, "Phone numbers for use in TV shows, films and creative works".
#   https://www.acma.gov.au/phone-numbers-use-tv-shows-films-and-creative-works
# --------------------------------------------------------------------------------------------

NANP = {  # area code: (home, city, time zone)
    "212": ("US", "New York", "America/New_York"),
    "646": ("US", "New York", "America/New_York"),
    "718": ("US", "Brooklyn", "America/New_York"),
    "617": ("US", "Boston", "America/New_York"),
    "215": ("US", "Philadelphia", "America/New_York"),
    "202": ("US", "Washington", "America/New_York"),
    "305": ("US", "Miami", "America/New_York"),
    "404": ("US", "Atlanta", "America/New_York"),
    "313": ("US", "Detroit", "America/Detroit"),
    "312": ("US", "Chicago", "America/Chicago"),
    "773": ("US", "Chicago", "America/Chicago"),
    "314": ("US", "St. Louis", "America/Chicago"),
    "612": ("US", "Minneapolis", "America/Chicago"),
    "615": ("US", "Nashville", "America/Chicago"),
    "816": ("US", "Kansas City", "America/Chicago"),
    "504": ("US", "New Orleans", "America/Chicago"),
    "512": ("US", "Austin", "America/Chicago"),
    "713": ("US", "Houston", "America/Chicago"),
    "214": ("US", "Dallas", "America/Chicago"),
    "303": ("US", "Denver", "America/Denver"),
    "801": ("US", "Salt Lake City", "America/Denver"),
    "505": ("US", "Albuquerque", "America/Denver"),
    "602": ("US", "Phoenix", "America/Phoenix"),
    "208": ("US", "Boise", "America/Boise"),
    "213": ("US", "Los Angeles", "America/Los_Angeles"),
    "323": ("US", "Los Angeles", "America/Los_Angeles"),
    "415": ("US", "San Francisco", "America/Los_Angeles"),
    "619": ("US", "San Diego", "America/Los_Angeles"),
    "206": ("US", "Seattle", "America/Los_Angeles"),
    "503": ("US", "Portland", "America/Los_Angeles"),
    "702": ("US", "Las Vegas", "America/Los_Angeles"),
    "907": ("US", "Anchorage", "America/Anchorage"),
    "808": ("US", "Honolulu", "Pacific/Honolulu"),
    "416": ("CA", "Toronto", "America/Toronto"),
    "514": ("CA", "Montréal", "America/Toronto"),
    "418": ("CA", "Québec", "America/Toronto"),
    "613": ("CA", "Ottawa", "America/Toronto"),
    "604": ("CA", "Vancouver", "America/Vancouver"),
    "403": ("CA", "Calgary", "America/Edmonton"),
    "306": ("CA", "Regina", "America/Regina"),
    "204": ("CA", "Winnipeg", "America/Winnipeg"),
    "902": ("CA", "Halifax", "America/Halifax"),
    "709": ("CA", "St. John's", "America/St_Johns"),
    "787": ("PR", "San Juan", "America/Puerto_Rico"),
}
GB_DRAMA = {  # prefix before the last three digits: city
    "442079460": "London", "441134960": "Leeds", "441144960": "Sheffield",
    "441164960": "Leicester", "441174960": "Bristol", "441184960": "Reading",
    "441214960": "Birmingham", "441314960": "Edinburgh",
    "441414960": "Glasgow", "441514960": "Liverpool", "441614960": "Manchester",
    "442920180": "Cardiff",
}
FR_AUDIOVISUAL = {  # prefix before the last four digits: cities
    "3319900": ("Paris",), "3326191": ("Rennes", "Nantes"), "3335301": ("Strasbourg", "Lille"),
    "3346571": ("Lyon", "Marseille"), "3353649": ("Bordeaux", "Toulouse"),
}
DE_MOBILE = ["15228817386", "15228895456", "15254599371", "1729968532", "1729980752"]
DE_CITIES = ("Berlin", "Hamburg", "München", "Köln", "Leipzig", "Nürnberg", "Düsseldorf", "Görlitz")
SE_CITIES = ("Stockholm", "Göteborg", "Malmö", "Umeå", "Växjö")
AU_MOBILE = (
    "570006 570156 570157 570158 570159 570110 570313 570737 571266 571491 571804 572549 572665 "
    "572983 573770 573087 574118 574632 575254 575789 576398 576801 577426 577644 578957 578148 "
    "578888 579212 579760 579455"
).split()
AU_PLACES = {
    "2": ("Sydney", "Australia/Sydney"), "3": ("Melbourne", "Australia/Melbourne"),
    "7": ("Brisbane", "Australia/Brisbane"), "8": ("Adelaide", "Australia/Adelaide"),
}

FICTION = [re.compile(p) for p in (
    r"\+1(%s)55501\d\d" % "|".join(NANP),
    r"\+(%s)\d{3}" % "|".join(GB_DRAMA),
    r"\+(%s)\d{4}" % "|".join(FR_AUDIOVISUAL),
    r"\+49(%s|17139200\d\d|176040690\d\d)" % "|".join(DE_MOBILE),
    r"\+46701740(60[5-9]|6[1-9]\d)",
    r"\+61491(%s)" % "|".join(AU_MOBILE),
    r"\+61[2378](5550|7010)\d{4}",
)]

# --------------------------------------------------------------------------------------------
# Where customers live, what they speak, and how they are called.
# --------------------------------------------------------------------------------------------

HOMES = {"US": 55, "CA": 11, "GB": 10, "DE": 8.5, "FR": 7, "SE": 3, "AU": 3, "PR": 2.5}

LANGUAGES = {  # home: {language: weight}
    "US": {"en": 60, "en-US": 8, "es-US": 11, "zh-Hans": 3, "zh-Hant": 1, "ko": 2, "vi": 2.5, "ru": 1.5,
           "ar": 1.5, "hi": 2, "hy": 1.5, "am": 1.5, "pt-BR": 1.5, "he": 1, "ja": 1, "th": 0.5, "fa": 0.8},
    "CA": {"en-CA": 55, "fr-CA": 24, "zh-Hans": 5, "hi": 4, "uk": 4, "ar": 3, "ko": 2, "vi": 2, "pt-BR": 1},
    "GB": {"en-GB": 78, "pl": 6, "hi": 4, "el": 3, "ar": 3, "pt-PT": 2, "tr": 2, "cy": 2},
    "DE": {"de": 74, "tr": 8, "uk": 5, "ru": 4, "el": 3, "ar": 3, "ka": 2, "pl": 2},
    "FR": {"fr": 80, "ar": 6, "pt-PT": 5, "vi": 3, "hy": 4, "es": 2},
    "SE": {"sv": 82, "fi": 8, "ar": 6, "am": 4},
    "AU": {"en-AU": 68, "zh-Hans": 9, "el": 6, "vi": 6, "hi": 5, "th": 3, "ko": 3},
    "PR": {"es-PR": 92, "en": 8},
}

ABROAD = [  # language, city, time zone, weight: countries that keep no range for fiction
    ("ja", "東京", "Asia/Tokyo", 4), ("ja", "大阪", "Asia/Tokyo", 2), ("ko", "서울", "Asia/Seoul", 3),
    ("zh-Hans", "上海", "Asia/Shanghai", 3), ("zh-Hant", "台北", "Asia/Taipei", 3),
    ("hi", "दिल्ली", "Asia/Kolkata", 3), ("pt-BR", "São Paulo", "America/Sao_Paulo", 5),
    ("he", "תל אביב", "Asia/Jerusalem", 3), ("ar", "القاهرة", "Africa/Cairo", 3),
    ("th", "กรุงเทพ", "Asia/Bangkok", 2), ("vi", "Hà Nội", "Asia/Ho_Chi_Minh", 2),
    ("ka", "თბილისი", "Asia/Tbilisi", 2), ("hy", "Երևան", "Asia/Yerevan", 2),
    ("am", "አዲስ አበባ", "Africa/Addis_Ababa", 2), ("el", "Αθήνα", "Europe/Athens", 3),
    ("uk", "Київ", "Europe/Kiev", 2), ("pl", "Łódź", "Europe/Warsaw", 3), ("es", "Málaga", "Europe/Madrid", 3),
    ("tr", "İzmir", "Europe/Istanbul", 2), ("en-NZ", "Auckland", "Pacific/Auckland", 2),
    ("is", "Reykjavík", "Atlantic/Reykjavik", 1), ("cs", "Brno", "Europe/Prague", 2),
]

# given names / family names. "native=roman" where ASCII folding cannot find the letters of an
# e-mail address; an underscore stands for a space. Two pools where family names have gender.
NAMES = {
    "en": [("Abigail Alice Amelia Arthur Beatrice Ben Caleb Charlotte Clara Connor Daisy Dorothy Edith Elliot "
            "Emma Ethan Finn Florence George Grace Hannah Harriet Henry Hugo Imogen Isaac Ivy Jack Jasmine Joel "
            "Josephine Leo Lily Lucas Mabel Martha Mason Matilda Miles Nathan Nora Olive Oscar Owen Penelope "
            "Phoebe Quentin Rose Rosie Ruby Samuel Silas Sophie Theo Tobias Violet Wesley Willow Zoë",
            "Abernathy Ackroyd Ashdown Barlow Birchall Blackwood Bramley Brightwell Calloway Carver Chadwick "
            "Clearwater Copperfield Dalton Drayton Eastwick Elmsworth Fairweather Fennimore Foxley Garrick "
            "Goodfellow Hathersage Hawthorne Hollis Huxtable Kettleburn Kingsley Larkin Loxwood Lindenfield "
            "Marlowe Merriweather Moorcroft Nightingale Oakhurst Okonkwo-Reed O'Malley Pemberton Pickering "
            "Quimby Ravenscroft Redfern Saltmarsh Sedgewick St._Clair Stonebridge Thistlewood Thornbury "
            "Underhill Vance Wainwright Weatherby Westbrook Whitlock Winterbourne Wren Yardley")],
    "cy": [("Alys Bronwen Carys Dafydd Eirlys Gwilym Iolo Llŷr Nerys Rhiannon Siân Tomos",
            "ap_Rhys Cadwaladr Gwynfor Llewelyn Meredydd Penrhyn Prydderch Tudur")],
    "es": [("Alejandra Álvaro Beatriz Camila Carmen César Débora Efraín Elena Esteban Fátima Gael Inés Íñigo "
            "Javier Joaquín José_Luis Julieta Lucía Luz María_José Mateo Nicolás Paloma Pilar Raúl Rocío Ximena",
            "Aguilera Ansoáin Belmonte Benavídez Cañizares Castañeda_Ríos Cervera Echeverría Espinoza Fuentes "
            "Gallardo Ibáñez Lizárraga Monteagudo Muñoz_Vidal Núñez Ordóñez Peñalver Quiñones Santamaría "
            "Trujillo Urrutia Valdivieso Zúñiga")],
    "de": [("Anke Anneliese Björn Carla Dörte Emil Frieda Friedrich Gisela Götz Greta Hannelore Heinrich "
            "Ingeborg Jörg Jürgen Käthe Klaus Lieselotte Lukas Malte Mareike Moritz Nele Ottilie Ralf Rüdiger "
            "Sören Svenja Thea Till Ulrike Wiebke Wolfgang",
            "Ackermann Bäumler Blümel Böttcher Brückner Dörfler Eichenlaub Fährmann Feldhaus Fröhlich Gänßler "
            "Großkopf Grünwald Haßler Heidenreich Hübner Kästner Königsmann Löwenthal Mühlbauer Nußbaum "
            "Osterloh Pflüger Quandt Rößler Schäfer Schönfeld Strauß Süßmilch Tränkle von_der_Aue Weißhaupt "
            "Wörner Zöllner")],
    "fr": [("Adèle Aïcha Amélie Anaïs Aurélien Benoît Cécile Céline Chloé Clément Éloïse Émile Étienne "
            "Françoise François Gaëlle Geneviève Hélène Inès Jérôme Joël Léa Loïc Maëlle Noémie Océane "
            "Raphaël Rémi Solène Théo Zélie",
            "Beauséjour Bellerose Bérubé Boisvert Carrière Châtelain d'Aubigné de_La_Tour Desrosiers Dufrêne "
            "Fontaine Gélinas Grandpré Hébert L'Écuyer Laforêt Lamontagne Lévesque Maisonneuve Mérigot Noël "
            "Pâquet Prévost Rivière Saint-Onge Sauvé Tremblay-Roy Vaillancourt Villeneuve")],
    "pt": [("Águeda Antônio Bárbara Caetano Cauã Conceição Flávia Gonçalo Helena Inês João João_Pedro Júlia "
            "Lourenço Luísa Mônica Nádia Otávio Patrícia Simão Tânia Vinícius",
            "Abrantes Assunção Bragança Brandão Camões Conceição dos_Anjos Falcão Figueirêdo Guimarães "
            "Leitão Magalhães Mourão Paixão Quintão Salomão Sá_Couto Varejão Vilaça")],
    "sv": [("Åke Alva Anneli Björn Ebba Elsa Gösta Göran Hjördis Håkan Ingrid Jörgen Kjell Linnéa Märta Nils "
            "Pär Saga Sören Torbjörn Ulla-Britt Örjan",
            "Ahlström Åkerblad Bergqvist Björklund Dahlgren Ekström Fjällström Grönlund Hägglund Hjärne "
            "Lagerlöv Löfgren Norrström Öberg Ödmark Rosengren Sjöstrand Svärdfelt Ängquist")],
    "fi": [("Aino Eeva Juha-Pekka Jyrki Kyllikki Onni Päivi Tuomas Väinö Yrjö",
            "Aaltoranta Heinämäki Järvelä Koskenniemi Lähteenmäki Mäkipää Pöyhönen Yläneva")],
    "is": [("Ásgeir Hörður Ægir Þráinn", "Guðnason Örvarsson"), ("Guðrún Sigríður Þórdís", "Ásgrímsdóttir Þorláksdóttir")],
    "cs": [("Bořivoj Jiří Ondřej Řehoř Štěpán Vojtěch", "Červenka Dvořáček Hřebíček Koželuh Ševčík Žižkovský"),
           ("Anežka Božena Eliška Kateřina Růžena Zdeňka", "Červenková Dvořáčková Hřebíčková Ševčíková Žižkovská")],
    "pl": [("Błażej Grzegorz Łukasz Michał Paweł Stanisław Świętosław Wojciech",
            "Brzęczyszczykiewicz Dąbrowiecki Gołębiewski Jabłoński Kościelny Różański Świątkowski Źrebiec"),
           ("Agnieszka Bożena Grażyna Jadwiga Małgorzata Michalina Róża Żaneta",
            "Dąbrowiecka Gołębiewska Jabłońska Kościelna Różańska Świątkowska Wiśniowiecka Źrebiec")],
    "tr": [("Ayşe Barış Çağla Deniz Elif Gökçe Gülşen İpek Kıvanç Ömer Özge Şebnem Tuğba Yiğit",
            "Akgündüz Altınbaş Çelikkol Demirağ Güneşli Karakuş Kırımlı Özyürek Şahinkaya Uğurlu Yıldızhan")],
    "el": [("Αλέξανδρος=alexandros Δημήτρης=dimitris Γιώργος=giorgos Ηλίας=ilias Θανάσης=thanasis Λευτέρης=lefteris "
            "Νίκος=nikos Σπύρος=spyros Χρήστος=christos",
            "Αγγελόπουλος=angelopoulos Βλαχάκης=vlachakis Δρακόπουλος=drakopoulos Καραμάνος=karamanos "
            "Μυλωνάς=mylonas Παπαδέλης=papadelis Ψαράς=psaras Τζαβέλας=tzavelas"),
           ("Αγγελική=angeliki Ελένη=eleni Ειρήνη=eirini Καλλιόπη=kalliopi Μαρία=maria Σοφία=sofia Χαρά=chara Ζωή=zoi",
            "Αγγελοπούλου=angelopoulou Βλαχάκη=vlachaki Δρακοπούλου=drakopoulou Καραμάνου=karamanou Μυλωνά=mylona "
            "Παπαδέλη=papadeli Ψαρά=psara Τζαβέλα=tzavela")],
    "ru": [("Алексей=aleksei Борис=boris Глеб=gleb Фёдор=fyodor Илья=ilya Семён=semyon Юрий=yuri",
            "Берёзкин=beryozkin Воробьёв=vorobyov Журавлёв=zhuravlyov Медведкин=medvedkin Щеглов=shcheglov Яблоков=yablokov"),
           ("Алёна=alyona Вера=vera Дарья=darya Ксения=ksenia Людмила=lyudmila Юлия=yulia",
            "Берёзкина=beryozkina Воробьёва=vorobyova Журавлёва=zhuravlyova Медведкина=medvedkina Щеглова=shcheglova Яблокова=yablokova")],
    "uk": [("Андрій=andrii Богдан=bohdan Ганна=hanna Євген=yevhen Ївга=yivha Катерина=kateryna Ліля=lilia Олесь=oles "
            "Соломія=solomiia Тарас=taras Ярина=yaryna",
            "Бджоленко=bdzholenko Вишняк=vyshniak Ґудзь=gudz Деревʼянко=derevianko Журавель=zhuravel Калиненко=kalynenko "
            "Мельниченко=melnychenko Соловейчук=soloveichuk Яворенко=yavorenko")],
    "ar": [("أحمد=ahmad آمنة=amina بشرى=bushra جميلة=jamila خالد=khalid رانيا=rania زينب=zaynab سامي=sami طارق=tariq "
            "فاطمة=fatima كريم=karim ليلى=layla مريم=maryam نور=nour ياسمين=yasmin",
            "البستاني=albustani الحدّاد=alhaddad الخطيب=alkhatib الزيتوني=alzaytuni الصبّاغ=alsabbagh العطّار=alattar "
            "القمري=alqamari المنصوري=almansuri النجّار=alnajjar الياسمين=alyasmin")],
    "fa": [("آرش=arash پریسا=parisa ژاله=zhaleh شیرین=shirin کیان=kian گلناز=golnaz",
            "باغبان=baghban پارساپور=parsapour چراغی=cheraghi گلستانی=golestani ژرفی=zharfi")],
    "he": [("אביגיל=avigail גיל=gil דניאל=daniel יעל=yael נועה=noa עדי=adi רות=rut שירה=shira תמר=tamar",
            "אלמגור=almagor ברקת=bareket גפני=gafni הרדוף=harduf זיתוני=zeituni כרמלי=karmeli רימון=rimon שקדי=shkedi")],
    "zh-Hans": [("伟=wei 芳=fang 秀英=xiuying 建国=jianguo 晓明=xiaoming 丽华=lihua 雨桐=yutong 子轩=zixuan 思远=siyuan 春梅=chunmei",
                 "欧阳=ouyang 司马=sima 诸葛=zhuge 赵=zhao 钱=qian 孙=sun 李=li 周=zhou 吴=wu 郑=zheng 冯=feng 陈=chen 韩=han 杨=yang")],
    "zh-Hant": [("淑芬=shufen 志豪=zhihao 雅婷=yating 俊傑=junjie 怡君=yijun 美玲=meiling 冠宇=guanyu",
                 "歐陽=ouyang 張簡=zhangjian 劉=liu 黃=huang 蕭=xiao 鄧=deng 賴=lai 龔=gong 蘇=su")],
    "ja": [("葵=aoi 陽菜=haruna 蓮=ren さくら=sakura 翔太=shota 美咲=misaki 大輔=daisuke ゆかり=yukari 健一=kenichi 直子=naoko ヒカル=hikaru",
            "雨宮=amamiya 井之頭=inogashira 小鳥遊=takanashi 神楽坂=kagurazaka 月見里=yamanashi 東雲=shinonome 早乙女=saotome 藤ヶ谷=fujigaya 渡邊=watanabe 龍泉寺=ryusenji")],
    "ko": [("가람=garam 나래=narae 다솜=dasom 미나=mina 보라=bora 새롬=saerom 아름=areum 은우=eunwoo 지훈=jihun 하늘=haneul",
            "강=kang 남궁=namgung 독고=dokgo 류=ryu 문=moon 서=seo 선우=sunwoo 윤=yoon 최=choi 황보=hwangbo")],
    "vi": [("Ánh_Nguyệt Bảo_Châu Đức_Anh Hồng_Nhung Hữu_Phước Khánh_Linh Mỹ_Duyên Ngọc_Ánh Quốc_Huy Thùy_Dương Tuấn_Kiệt Xuân_Trường",
            "Bùi Đặng Đỗ Hoàng Huỳnh Lê Lương Nguyễn Phạm Phan Trần Trịnh Võ Vũ")],
    "hi": [("आरती=aarti अनिल=anil गीता=geeta दीपक=deepak प्रिया=priya मोहन=mohan रश्मि=rashmi विक्रम=vikram श्रेया=shreya सुनीता=sunita",
            "अग्निहोत्री=agnihotri उपाध्याय=upadhyay कुलकर्णी=kulkarni चतुर्वेदी=chaturvedi त्रिपाठी=tripathi द्विवेदी=dwivedi भट्टाचार्य=bhattacharya वाजपेयी=vajpeyi श्रीवास्तव=shrivastava")],
    "th": [("กมล=kamon จันทร์=chan ชาญ=chan ดวงใจ=duangjai น้ำฝน=namfon พิมพ์ใจ=phimjai วิชัย=wichai สมหญิง=somying อรุณ=arun",
            "แก้วมณี=kaewmanee จันทร์หอม=chanhom ดอกไม้งาม=dokmaingam ทองสุข=thongsuk บุญรอด=bunrot ศรีสวัสดิ์=sisawat สุขสมบูรณ์=suksombun")],
    "ka": [("ანა=ana გიორგი=giorgi ეკა=eka ზურაბ=zurab თამარ=tamar ლევანი=levani მზია=mzia ნინო=nino",
            "ბერიაშვილი=beriashvili გელოვანი=gelovani ვაშაძე=vashadze კალანდაძე=kalandadze მთვარელიძე=mtvarelidze ჭავჭანიძე=chavchanidze ყიფშიძე=qipshidze")],
    "hy": [("Անի=ani Արամ=aram Գայանե=gayane Լուսինե=lusine Հայկ=hayk Նարե=nare Սուրեն=suren Տիգրան=tigran Օվսաննա=ovsanna",
            "Արևշատյան=arevshatyan Գրիգորենց=grigorents Զատիկյան=zatikyan Լեռնյան=lernyan Ծաղիկյան=tsaghikyan Մեղրյան=meghryan Նռանյան=nranyan")],
    "am": [("አበባ=abeba ብርሃኑ=birhanu ደስታ=desta ገነት=genet ሃና=hana ከበደ=kebede ሰላም=selam ታደሰ=tadesse ዘውዲቱ=zewditu",
            "አለሙ=alemu በቀለ=bekele ገብረማርያም=gebremariam ኃይሌ=haile መንግሥቱ=mengistu ተስፋዬ=tesfaye ወልደሰንበት=woldesenbet")],
}
FAMILY_FIRST = {"zh-Hans": "", "zh-Hant": "", "ja": " ", "ko": "", "vi": " "}

SIZES = ["XS", "S", "S", "M", "M", "M", "L", "L", "L", "XL", "XL", "XXL"]
DOMAINS = [("example.org", 42), ("example.com", 26), ("example.net", 16), ("mail.example.org", 8),
           ("post.example.org", 5), ("uni.example.org", 3)]


def dice(*key):
    """A random source of its own for each thing, so that changing one thing moves no other."""
    return random.Random("/".join([SEED, *map(str, key)]))


def weighted(rng, pairs):
    values, weights = zip(*pairs)
    return rng.choices(values, weights)[0]


FOLD = str.maketrans({"ß": "ss", "ø": "o", "ł": "l", "Ł": "L", "đ": "d", "Đ": "D", "ı": "i", "æ": "ae",
                      "Æ": "Ae", "þ": "th", "Þ": "Th", "ð": "d", "ä": "ae", "ö": "oe", "ü": "ue"})


def fold(text):
    text = unicodedata.normalize("NFKD", text.translate(FOLD))
    return re.sub(r"[^a-z0-9]", "", text.encode("ascii", "ignore").decode().lower())


def pool(text):
    """[(name as written, letters for an e-mail address)]"""
    out = []
    for word in text.split():
        native, _, roman = word.partition("=")
        native = native.replace("_", " ")
        out.append((native, roman or fold(native)))
    return out


POOLS = {lang: [(pool(g), pool(f)) for g, f in pools] for lang, pools in NAMES.items()}


def pools_of(language):
    return POOLS.get(language) or POOLS[language.split("-")[0]]


# --------------------------------------------------------------------------------------------
# Reading the sample
# --------------------------------------------------------------------------------------------

def read_sample(path, today):
    """{customer: [(date, units, cents)]}, dates moved so that the last lies on the day before today."""
    rows = []
    for number, line in enumerate(path.read_text(encoding="ascii").splitlines(), 1):
        fields = line.split()
        if not fields:
            continue
        if len(fields) != 5:
            sys.exit(f"{path}:{number}: 5 fields expected, found {len(fields)}: is this CDNOW_sample.txt?")
        customer, _, day, units, dollars = fields
        whole, _, cents = dollars.partition(".")
        rows.append((customer, dt.datetime.strptime(day, "%Y%m%d").date(), int(units),
                     int(whole) * 100 + int(cents.ljust(2, "0"))))
    shift = today - dt.timedelta(days=1) - max(r[1] for r in rows)
    sample = defaultdict(list)
    for customer, day, units, cents in rows:
        sample["C" + customer].append((day + shift, units, cents))
    return {c: sorted(p) for c, p in sorted(sample.items())}


# --------------------------------------------------------------------------------------------
# Customers
# --------------------------------------------------------------------------------------------

def phone_pools():
    """{home: [(number, city, zone)]}, shuffled; each entry is used once."""
    pools = defaultdict(list)
    for area, (home, city, zone) in NANP.items():
        pools[home] += [(f"+1{area}55501{n:02}", city, zone) for n in range(100)]
    for prefix, city in GB_DRAMA.items():
        pools["GB"] += [(f"+{prefix}{n:03}", city, "Europe/London") for n in range(1000)]
    for prefix, cities in FR_AUDIOVISUAL.items():
        pools["FR"] += [(f"+{prefix}{n:04}", cities[n % len(cities)], "Europe/Paris") for n in range(0, 10000, 7)]
    german = DE_MOBILE + [f"17139200{n:02}" for n in range(100)] + [f"176040690{n:02}" for n in range(100)]
    pools["DE"] = [(f"+49{n}", DE_CITIES[i % len(DE_CITIES)], "Europe/Berlin") for i, n in enumerate(german)]
    pools["SE"] = [(f"+46701740{n}", SE_CITIES[n % len(SE_CITIES)], "Europe/Stockholm") for n in range(605, 700)]
    places = list(AU_PLACES.values())
    pools["AU"] = [(f"+61491{n}", *places[i % len(places)]) for i, n in enumerate(AU_MOBILE)]
    for area, place in AU_PLACES.items():
        pools["AU"] += [(f"+61{area}5550{n:04}", *place) for n in range(0, 10000, 700)]
        pools["AU"] += [(f"+61{area}7010{n:04}", *place) for n in range(0, 10000, 900)]
    for home, entries in pools.items():
        dice("phones", home).shuffle(entries)
    return pools


def quota(ids, key, shares):
    """{id: value} in exact shares; who gets which is drawn."""
    ids = list(ids)
    dice("quota", key).shuffle(ids)
    out, start = {}, 0
    for value, share in shares[:-1]:
        end = start + round(share * len(ids))
        out.update((i, value) for i in ids[start:end])
        start = end
    out.update((i, shares[-1][0]) for i in ids[start:])
    return out


def card_number(n):
    digits = f"62{n:07}"
    check = sum(int(d) * w for d, w in zip(digits, (3, 1, 7) * 3)) % 10
    return f"LC-{digits}{check}"


NASTY = [  # first, last, display: unusual, and every one of them must be accepted and shown as it is
    ("{{7*7}}", "Template", ""),
    ("Una", "Placeholder", "{UserName}"),
    ("Quentin", 'O\'Brien-"Quote"', ""),
    ("Formula", "Cell", "=cmd()"),
    ("Foxy", "Emoji", "🦊✨ Foxy 🎶"),
    ("Wolfgang", "Schmetterlingsblütenwiesenbergdorfhausensteinbrückenschläger", ""),
    ("Mark", "Up", "<b>Mark</b> & Söhne"),
    ("Sammy", "Comma, Jr.", "Comma, Sammy; Jr."),
]
assert len(NASTY[5][1]) == 60, len(NASTY[5][1])


def make_birthday(rng, today):
    kind = weighted(rng, [("full", 70), ("day", 12), ("", 18)])
    if not kind:
        return ""
    year = int(rng.triangular(1938, 2008, 1988))
    if rng.random() < 0.004:
        year -= year % 4
        month, day = 2, 29
    else:
        month = rng.randint(1, 12)
        day = rng.randint(1, calendar.monthrange(year, month)[1])
    return f"--{month:02}-{day:02}" if kind == "day" else f"{year:04}-{month:02}-{day:02}"


def make_customers(sample, today):
    ids = list(sample)
    spend = {c: sum(p[2] for p in ps) for c, ps in sample.items()}
    ranked = sorted(ids, key=lambda c: (-spend[c], c))
    vips = set(ranked[:round(0.12 * len(ids))])
    last_entry = max(ps[0][0] for ps in sample.values())

    consent = quota(ids, "consent", [("withheld", 0.02), ("not_specified", 0.20), ("given", 0.78)])
    open_ids = [c for c in ids if consent[c] != "withheld"]
    missing = quota(open_ids, "missing", [("both", 0.01), ("phone", 0.05), ("email", 0.03), ("", 0.91)])

    reachable = [c for c in open_ids if not missing[c]]
    for_nasty = sorted(c for c in reachable if c in vips and consent[c] == "given")
    dice("nasty").shuffle(for_nasty)
    nasty = dict(zip(sorted(for_nasty[:len(NASTY)]), NASTY))

    # Twelve households: a second member who shares the phone, the e-mail address, or both with the
    # head. In the first six both are VIP, so a campaign for VIPs meets the same address twice.
    rng = dice("households")
    vip_free = [c for c in for_nasty[len(NASTY):]]
    other_free = [c for c in reachable if c not in vips]
    rng.shuffle(other_free)
    household = {}
    for n, shared in enumerate(["phone", "email", "both"] * 4):
        source = vip_free if n < 6 else other_free
        head, member = sorted((source.pop(), source.pop()))
        household[member] = (head, shared)
    heads = {h for h, _ in household.values()}

    phones = phone_pools()
    homes = quota(ids, "home", [(h, w / 100) for h, w in HOMES.items()])
    customers, emails, card_count = {}, set(), 0

    for index, c in enumerate(ids):
        rng = dice("customer", c)
        row = dict.fromkeys(HEADER, "")
        row["external_id"] = c
        row["consent"] = consent[c]
        row["joined_at"] = sample[c][0][0].isoformat()

        # Birthday and categories.
        birthday = make_birthday(rng, today)
        categories = []
        if c in vips:
            categories.append("VIP")
        if len({p[0] for p in sample[c]}) >= 3:
            categories.append("Regular")
        if len(sample[c]) == 1 and (last_entry - sample[c][0][0]).days < 30:
            categories.append("New")
        if birthday[:1] in "12" and birthday[:4] >= "2001" and rng.random() < 0.8:
            categories.append("Student")
        if rng.random() < 0.012:
            categories.append("Staff")
        row["categories"] = ";".join(categories)

        row["favourite"] = "true" if rng.random() < (0.12 if c in vips else 0.02) else "false"
        points = spend[c] // 100 + rng.choice((0, 0, 0, 50, 100))
        row["points"] = "" if rng.random() < 0.04 else str(points)
        if rng.random() < 0.001:
            row["points"] = str(-rng.randint(5, 120))

        if consent[c] == "withheld":
            row["subscribe_sms"] = row["subscribe_email"] = "false"
            customers[c] = row
            continue

        # Where, which language.
        lacks = missing[c]
        no_phone = lacks in ("phone", "both")
        abroad = lacks == "phone" and rng.random() < 0.8 or not lacks and rng.random() < 0.035
        if c in household:
            head = customers[household[c][0]]
            home, abroad = homes[head["external_id"]], False
        else:
            home = homes[c]
            head = None
        if c in heads or c in nasty:
            abroad = False
        homes[c] = home
        if abroad:  # moved away, some with the American number they had
            language, city, zone = weighted(rng, [(a[:3], a[3]) for a in ABROAD])
            if not no_phone:
                row["phone"] = phones["US"].pop()[0]
        else:
            language = weighted(rng, LANGUAGES[home].items())
            if no_phone:
                _, city, zone = rng.choice(phones[home])
            else:
                row["phone"], city, zone = phones[home].pop()
        if c in nasty:
            language = "en"
        if head:
            language, zone, city = head["language"] or "en", head["time_zone"], head["attr.city"]

        # Names.
        given, family = rng.choice(pools_of(language))
        (first, first_roman), (last, last_roman) = rng.choice(given), rng.choice(family)
        if head:
            last, last_roman = head["last_name"], fold(head["last_name"]) or "family"
        row["first_name"], row["last_name"] = first, last
        draw = rng.random()
        if draw < 0.12:
            row["display_name"] = first
        elif draw < 0.25:
            row["display_name"] = (
                last + FAMILY_FIRST[language] + first if language in FAMILY_FIRST else f"{first} {last}")
        elif draw < 0.27:
            row["last_name"] = ""
        elif draw < 0.28:
            row["first_name"] = ""
        if c in nasty:
            row["first_name"], row["last_name"], row["display_name"] = nasty[c]
            first_roman, last_roman = "unusual", f"customer{index}"
        if c in heads:
            row["last_name"] = last

        # E-mail address.
        if lacks not in ("email", "both"):
            local = rng.choice((f"{first_roman}.{last_roman}", f"{first_roman}.{last_roman}",
                                f"{first_roman[:1]}.{last_roman}", f"{last_roman}{first_roman[:2]}",
                                f"{first_roman}_{last_roman}"))[:40]
            if rng.random() < 0.01:
                local += "+shop"
            domain = weighted(rng, DOMAINS)
            address, n = f"{local}@{domain}", 1
            while address in emails:
                n += 1
                stem, plus, tag = local.partition("+")
                address = f"{stem}{n}{plus}{tag}@{domain}"
            row["email"] = address
        if head:
            shared = household[c][1]
            if shared in ("phone", "both"):
                row["phone"] = head["phone"]
            if shared in ("email", "both"):
                row["email"] = head["email"]
        if row["email"]:
            emails.add(row["email"])

        row["birthday"] = birthday
        row["language"] = "" if rng.random() < 0.03 and c not in heads else language
        row["time_zone"] = "" if rng.random() < 0.07 and c not in heads else zone
        for _ in range(weighted(rng, [(0, 38), (1, 54), (2, 8)])):
            card_count += 1
            row["cards"] += (";" if row["cards"] else "") + card_number(card_count)
        row["attr.city"] = city if rng.random() < 0.85 or c in heads else ""
        row["attr.shirt_size"] = rng.choice(SIZES) if rng.random() < 0.4 else ""

        # Subscriptions; a few are subscribed to a channel for which there is no address.
        chosen = c in heads or c in household or c in nasty
        for channel, address, share in (("sms", "phone", 0.73), ("email", "email", 0.84)):
            yes = rng.random() < (share if row[address] else 0.08)
            row["subscribe_" + channel] = "true" if yes or chosen else "false"
        customers[c] = row
    return customers, household


# --------------------------------------------------------------------------------------------
# Activity
# --------------------------------------------------------------------------------------------

def clock(rng, day):
    seconds = rng.randint(8 * 3600, 21 * 3600)
    return f"{day.isoformat()}T{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}Z"


def money(cents):
    return f"{cents // 100}.{cents % 100:02}"


def make_activity(sample, customers, today):
    last_day = today - dt.timedelta(days=1)
    rows = []

    def add(letter, counter, customer, kind, at, amount="", rating=""):
        counter[letter] += 1
        rows.append(dict(event_id=f"{letter}{customer[1:]}-{counter[letter]}", external_id=customer,
                         kind=kind, at=at, amount=amount, rating=rating))

    for c, purchases in sample.items():
        rng, counter = dice("activity", c), Counter()
        happy = rng.random() < 0.88
        for day, _, cents in purchases:
            at = clock(dice("purchase", c, counter["P"]), day)
            add("P", counter, c, "purchase", at, money(cents))
            if rng.random() < 0.14:    # came and looked, some days before buying
                add("V", counter, c, "visit", clock(rng, day - dt.timedelta(days=rng.randint(1, 12))))
            after = day + dt.timedelta(days=rng.randint(1, 20))
            if cents > 0 and rng.random() < 0.015 and after <= last_day:
                add("F", counter, c, "refund", clock(rng, after), money(rng.choice((cents, cents // 2))))
            after = day + dt.timedelta(days=rng.randint(1, 9))
            if rng.random() < 0.045 and after <= last_day:
                add("R", counter, c, "review", clock(rng, after), "", "positive" if happy else "negative")
            after = day + dt.timedelta(days=rng.randint(0, 3))
            if rng.random() < 0.05 and after <= last_day:
                add("B", counter, c, "points", clock(rng, after), str(rng.choice((10, 20, 25, 50, 100))))
        balance = int(customers[c]["points"] or 0)
        if balance >= 100 and rng.random() < 0.12:
            spent = rng.choice([n for n in (50, 100, 200, 500) if n <= balance])
            add("B", counter, c, "points", clock(rng, last_day - dt.timedelta(days=rng.randint(0, 60))), str(-spent))
        # Sessions (a class, a court, a table): regulars of the last four months, and some who stopped.
        quiet = (last_day - purchases[-1][0]).days
        if quiet < 120 and rng.random() < 0.25:
            for _ in range(rng.randint(2, 7)):
                add("S", counter, c, "session", clock(rng, last_day - dt.timedelta(days=rng.randint(0, 75))))
        elif rng.random() < 0.04:
            for _ in range(rng.randint(1, 5)):
                add("S", counter, c, "session", clock(rng, last_day - dt.timedelta(days=rng.randint(35, 240))))
    rows.sort(key=lambda r: (r["at"], r["event_id"]))
    return rows


# --------------------------------------------------------------------------------------------
# Rows that must be rejected, each for its own reason
# --------------------------------------------------------------------------------------------

def customer_rejects(good):
    """[(reason, {changed fields} or a raw row)], each faulty in one respect only."""
    first = good[0]["external_id"]
    taken = next(r["cards"].split(";")[0] for r in good[:30] if r["cards"])
    word = "x" * 60
    return [
        ("external_id_missing", dict(external_id="", display_name="REJECT-external_id_missing")),
        ("external_id_too_long", dict(external_id="REJECT-external_id_too_long-".ljust(65, "x"))),
        ("external_id_invalid", dict(external_id="REJECT-external_id\tinvalid")),
        ("duplicate_in_file", dict(external_id=first, display_name="REJECT-duplicate_in_file")),
        ("phone_not_a_number", dict(phone="call me")),
        ("phone_without_country", dict(phone="07700 900123")),
        ("phone_unknown_country", dict(phone="+99912345678")),
        ("phone_too_short", dict(phone="+1212")),
        ("phone_too_long", dict(phone="+44770090012345678901")),
        ("email_without_at", dict(email="reject.example.org")),
        ("email_two_ats", dict(email="reject@shop@example.org")),
        ("email_bad_domain", dict(email="reject@-bad-.example.org")),
        ("email_with_space", dict(email="reject me@example.org")),
        ("email_line_break", dict(email="reject@example.org\r\nBcc: everyone@example.org")),
        ("email_too_long", dict(email=f"{word}@{word}.{word}.{word}.example.org")),
        ("birthday_not_a_date", dict(birthday="1990-02-30")),
        ("birthday_bad_format", dict(birthday="30/02/1990")),
        ("birthday_in_future", dict(birthday="2199-01-01")),
        ("birthday_too_old", dict(birthday="1899-12-31")),
        ("language_unknown", dict(language="klingonish!")),
        ("time_zone_unknown", dict(time_zone="Mars/Olympus")),
        ("points_not_a_number", dict(points="many")),
        ("points_out_of_range", dict(points="1000000001")),
        ("favourite_not_boolean", dict(favourite="perhaps")),
        ("consent_unknown", dict(consent="perhaps")),
        ("withheld_with_personal_data", dict(consent="withheld")),
        ("subscribe_sms_not_boolean", dict(subscribe_sms="sometimes")),
        ("subscribe_email_not_boolean", dict(subscribe_email="sometimes")),
        ("joined_at_not_a_date", dict(joined_at="2025-02-30")),
        ("joined_at_in_future", dict(joined_at="2199-01-01")),
        ("category_too_long", dict(categories="Regular;" + "c" * 65)),
        ("too_many_categories", dict(categories=";".join(f"c{n:02}" for n in range(1, 22)))),
        ("card_taken", dict(cards=taken)),
        ("name_too_long", dict(first_name="N" * 101)),
        ("name_control_character", dict(first_name="Bell\x07")),
        ("attribute_too_long", {"attr.city": "A" * 501}),
        ("wrong_column_count", ["REJECT-wrong_column_count", "", "Reject", "too few columns"]),
    ]


def customer_reject_row(reason, change, joined):
    if isinstance(change, list):
        return change
    row = dict.fromkeys(HEADER, "")
    row.update(external_id="REJECT-" + reason, first_name="Reject", last_name=reason, language="en",
               email=f"reject-{reason.replace('_', '-')}@example.org", time_zone="Europe/London",
               points="0", favourite="false", consent="given", subscribe_sms="false",
               subscribe_email="false", joined_at=joined)
    row.update(change)
    return [row[h] for h in HEADER]


def activity_rejects(good):
    reused = next(r for r in good if r["kind"] == "purchase" and r["amount"] != "0.00")
    purchase = dict(kind="purchase", amount="9.90")
    return [
        ("event_id_missing", dict(purchase, event_id="")),
        ("event_id_too_long", dict(purchase, event_id="REJECT-event_id_too_long-".ljust(65, "x"))),
        ("event_id_reused", dict(reused, amount="1" + reused["amount"])),
        ("customer_unknown", dict(purchase, external_id="C99999")),
        ("kind_unknown", dict(kind="teleport")),
        ("at_missing", dict(purchase, at="")),
        ("at_not_a_time", dict(purchase, at="2026-13-01T10:00:00Z")),
        ("at_in_future", dict(purchase, at="2199-01-01T10:00:00Z")),
        ("amount_not_a_number", dict(purchase, amount="twelve")),
        ("amount_missing", dict(purchase, amount="")),
        ("amount_out_of_range", dict(purchase, amount="99999999999999999999.99")),
        ("amount_negative", dict(purchase, amount="-5.00")),
        ("rating_unknown", dict(kind="review", rating="meh")),
        ("rating_missing", dict(kind="review")),
        ("points_not_whole", dict(kind="points", amount="1.5")),
    ]


def activity_reject_row(reason, change, customer, at):
    row = dict(event_id="REJECT-" + reason, external_id=customer, kind="visit", at=at, amount="", rating="")
    row.update(change)
    return [row[h] for h in ACTIVITY_HEADER]


def spread(good, bad):
    """Put the bad rows between the good ones at even distances: [(reason or None, row)]."""
    out, k = [], 0
    for n, row in enumerate(good):
        while k < len(bad) and n == (k + 1) * len(good) // (len(bad) + 1):
            out.append(bad[k])
            k += 1
        out.append((None, row))
    return out


def write(path, header, rows):
    """Write a CSV file; return [(record, line, reason)] of its faulty rows (record 1 is the first
    after the header, line 1 is the header)."""
    buffer, rejects, line = io.StringIO(), [], 2
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(header)
    for record, (reason, row) in enumerate(rows, 1):
        if reason:
            rejects.append((record, line, reason))
        writer.writerow(row)
        line += 1 + sum(str(cell).count("\n") for cell in row)
    path.write_bytes(buffer.getvalue().encode("utf-8"))
    return rejects


# --------------------------------------------------------------------------------------------
# Checking what was written, by reading it again
# --------------------------------------------------------------------------------------------

def is_date(text):
    try:
        return len(text) == 10 and dt.date.fromisoformat(text) is not None
    except ValueError:
        return False


def control(text):
    return any(unicodedata.category(ch) == "Cc" for ch in text)


def customer_faults(cells, seen, cards):
    """Every fault of a row, as reason codes."""
    if len(cells) != len(HEADER):
        return ["wrong_column_count"]
    r, out = dict(zip(HEADER, cells)), []
    fault = lambda code, when: out.append(code) if when else None
    ident, phone, mail, birthday = r["external_id"], r["phone"], r["email"], r["birthday"]
    fault("external_id_missing", not ident)
    fault("external_id_too_long", len(ident) > 64)
    fault("external_id_invalid", control(ident))
    fault("duplicate_in_file", ident in seen)
    if phone and not phone.startswith("+"):
        out.append("phone_without_country" if re.fullmatch(r"[\d ]+", phone) else "phone_not_a_number")
    elif phone:
        digits = len(phone) - 1
        fault("phone_too_short", digits < 7)
        fault("phone_too_long", digits > 15)
        fault("phone_unknown_country", phone.startswith("+999"))
    if mail:
        local, _, domain = mail.rpartition("@")
        labels = domain.split(".")
        if control(mail):
            out.append("email_line_break")
        elif " " in mail:
            out.append("email_with_space")
        elif "@" not in mail:
            out.append("email_without_at")
        elif "@" in local:
            out.append("email_two_ats")
        elif len(mail) > 254:
            out.append("email_too_long")
        else:
            fault("email_bad_domain", len(labels) < 2 or not all(
                re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", x) for x in labels))
    if birthday.startswith("--"):
        fault("birthday_not_a_date", not is_date("2000" + birthday[1:]))
    elif birthday and not re.fullmatch(r"\d{4}-\d\d-\d\d", birthday):
        out.append("birthday_bad_format")
    elif birthday:
        fault("birthday_not_a_date", not is_date(birthday))
        fault("birthday_too_old", birthday < "1900-01-01")
        fault("birthday_in_future", birthday > "2100-01-01")
    fault("language_unknown", r["language"] and not re.fullmatch(r"[a-zA-Z]{2,3}(-[A-Za-z0-9]{2,8})*", r["language"]))
    zones = {a[2] for a in ABROAD} | {n[2] for n in NANP.values()} | {p[1] for p in AU_PLACES.values()} | {
        "Europe/London", "Europe/Paris", "Europe/Berlin", "Europe/Stockholm"}
    fault("time_zone_unknown", r["time_zone"] and r["time_zone"] not in zones)
    if r["points"] and not re.fullmatch(r"-?\d+", r["points"]):
        out.append("points_not_a_number")
    else:
        fault("points_out_of_range", abs(int(r["points"] or 0)) > 1_000_000_000)
    for field in ("favourite", "subscribe_sms", "subscribe_email"):
        fault(field + "_not_boolean", r[field] not in ("true", "false"))
    fault("consent_unknown", r["consent"] not in ("given", "not_specified", "withheld"))
    personal = [r[f] for f in ("cards", "first_name", "last_name", "display_name", "phone", "email", "birthday",
                               "attr.city", "attr.shirt_size")]
    fault("withheld_with_personal_data", r["consent"] == "withheld" and any(personal))
    fault("joined_at_not_a_date", not is_date(r["joined_at"]))
    fault("joined_at_in_future", r["joined_at"] > "2100-01-01")
    categories = [x for x in r["categories"].split(";") if x]
    fault("category_too_long", any(len(x) > 64 for x in categories))
    fault("too_many_categories", len(categories) > 20)
    fault("card_taken", any(x in cards for x in r["cards"].split(";") if x))
    names = (r["first_name"], r["last_name"], r["display_name"])
    fault("name_too_long", any(len(x) > 100 for x in names))
    fault("name_control_character", any(control(x) for x in names))
    fault("attribute_too_long", any(len(r[x]) > 500 for x in HEADER if x.startswith("attr.")))
    return out


def activity_faults(cells, customers, events):
    r, out = dict(zip(ACTIVITY_HEADER, cells)), []
    fault = lambda code, when: out.append(code) if when else None
    kind, amount, rating, at = r["kind"], r["amount"], r["rating"], r["at"]
    fault("event_id_missing", not r["event_id"])
    fault("event_id_too_long", len(r["event_id"]) > 64)
    fault("event_id_reused", r["event_id"] in events and events[r["event_id"]] != cells)
    fault("customer_unknown", r["external_id"] not in customers)
    fault("kind_unknown", kind not in ("purchase", "refund", "visit", "session", "review", "points"))
    if not at:
        out.append("at_missing")
    else:
        try:
            dt.datetime.strptime(at, "%Y-%m-%dT%H:%M:%SZ")
            fault("at_in_future", at > "2100")
        except ValueError:
            out.append("at_not_a_time")
    if kind in ("purchase", "refund"):
        if not amount:
            out.append("amount_missing")
        elif not re.fullmatch(r"-?\d+(\.\d{1,2})?", amount):
            out.append("amount_not_a_number")
        else:
            fault("amount_negative", amount.startswith("-"))
            fault("amount_out_of_range", float(amount) > 1_000_000_000)
    elif kind == "points":
        fault("points_not_whole", not re.fullmatch(r"-?\d+", amount))
    elif kind == "review":
        if not rating:
            out.append("rating_missing")
        fault("rating_unknown", rating not in ("", "positive", "negative"))
    return out


def verify(folder, sample, household, today, expected):
    with open(folder / "customers.csv", encoding="utf-8", newline="") as f:
        header, *rows = list(csv.reader(f))
    assert header == HEADER
    faulty = {(e[0], e[1]): e[3] for e in expected}
    good, cards = {}, set()
    for record, cells in enumerate(rows, 1):
        want = faulty.get(("customers.csv", record))
        found = customer_faults(cells, good, cards)
        assert found == ([want] if want else []), (record, want, found, cells)
        if not want:
            row = dict(zip(HEADER, cells))
            good[row["external_id"]] = row
            cards.update(x for x in row["cards"].split(";") if x)
    assert list(good) == list(sample), "every customer of the sample, once, in order"

    last = (today - dt.timedelta(days=1)).isoformat()
    members = {m: s for m, (_, s) in household.items()}
    for field, pattern in (("phone", None), ("email", r"[a-z0-9._+]+@([a-z]+\.)?example\.(org|net|com)")):
        values = [r[field] for r in good.values() if r[field]]
        shared = sum(1 for s in members.values() if s in (field, "both"))
        assert len(values) - len(set(values)) == shared, (field, len(values) - len(set(values)), shared)
        for value in values:
            assert any(p.fullmatch(value) for p in FICTION) if field == "phone" else re.fullmatch(pattern, value), value
    for r in good.values():
        assert r["joined_at"] <= last and r["joined_at"] == sample[r["external_id"]][0][0].isoformat()
        assert not r["birthday"] or r["birthday"] < "2010"

    with open(folder / "activity.csv", encoding="utf-8", newline="") as f:
        header, *rows = list(csv.reader(f))
    assert header == ACTIVITY_HEADER
    events, spent, kinds = {}, defaultdict(list), Counter()
    for record, cells in enumerate(rows, 1):
        want = faulty.get(("activity.csv", record))
        found = activity_faults(cells, good, events)
        assert found == ([want] if want else []), (record, want, found, cells)
        if not want:
            assert cells[0] not in events, cells
            events[cells[0]] = cells
            kinds[cells[2]] += 1
            assert cells[3][:10] <= last and "08:00:00" <= cells[3][11:19] <= "21:00:00", cells
            if cells[2] == "purchase":
                spent[cells[1]].append((cells[3][:10], round(float(cells[4]) * 100)))
    assert {c: sorted((p[0].isoformat(), p[2]) for p in ps) for c, ps in sample.items()} == {
        c: sorted(v) for c, v in spent.items()}, "every purchase of the sample, once"
    assert max(d for v in spent.values() for d, _ in v) == last
    assert len({e[3] for e in expected}) == len(expected), "each reject has a reason of its own"
    return good, kinds


def percent(n, total):
    return f"{n} ({100 * n / total:.1f} %)"


def summary(good, kinds, expected, household):
    total = len(good)
    filled = lambda field: percent(sum(1 for r in good.values() if r[field]), total)
    print(f"customers.csv   {total} good rows, {sum(e[0] == 'customers.csv' for e in expected)} to be rejected")
    for field in ("phone", "email", "birthday", "language", "time_zone", "cards", "display_name", "points",
                  "attr.city", "attr.shirt_size"):
        print(f"  {field:<16} filled {filled(field)}")
    neither = [r for r in good.values() if not r["phone"] and not r["email"]]
    print(f"  neither address  {percent(len(neither), total)}, of whom withheld "
          f"{sum(r['consent'] == 'withheld' for r in neither)}")
    birthdays = [r["birthday"] for r in good.values()]
    print(f"  birthday         without year {sum(b.startswith('--') for b in birthdays)}, "
          f"29 February {sum(b.endswith('-02-29') for b in birthdays)}")
    for field in ("consent", "subscribe_sms", "subscribe_email", "favourite"):
        counts = Counter(r[field] for r in good.values())
        print(f"  {field:<16} " + ", ".join(f"{k} {percent(v, total)}" for k, v in counts.most_common()))
    for channel, field in (("sms", "phone"), ("email", "email")):
        print(f"  subscribed to {channel} without an address: "
              f"{sum(r['subscribe_' + channel] == 'true' and not r[field] for r in good.values())}")
    categories = Counter(x for r in good.values() for x in r["categories"].split(";") if x)
    print("  categories       " + ", ".join(f"{k} {percent(v, total)}" for k, v in categories.most_common()))
    print("  languages        " + ", ".join(f"{k or '(none)'} {v}" for k, v in
                                            Counter(r["language"] for r in good.values()).most_common()))
    print("  phone countries  " + ", ".join(f"{k} {v}" for k, v in Counter(
        next(p for p in ("+1", "+44", "+49", "+33", "+46", "+61") if r["phone"].startswith(p))
        for r in good.values() if r["phone"]).most_common()))
    print(f"  time zones       {len({r['time_zone'] for r in good.values()} - {''})}")
    print(f"  households       {len(household)}: " + ", ".join(
        f"{n} share {'phone and email' if s == 'both' else s}" for s, n in
        Counter(s for _, s in household.values()).items()))
    vip = [r for r in good.values() if "VIP" in r["categories"].split(";")]
    print(f"  VIP              {len(vip)}: withheld {sum(r['consent'] == 'withheld' for r in vip)}, "
          f"subscribed with an address: sms {sum(r['subscribe_sms'] == 'true' and r['phone'] != '' for r in vip)}, "
          f"email {sum(r['subscribe_email'] == 'true' and r['email'] != '' for r in vip)}")
    print(f"activity.csv    {sum(kinds.values())} good rows, "
          f"{sum(e[0] == 'activity.csv' for e in expected)} to be rejected")
    print("  kinds            " + ", ".join(f"{k} {v}" for k, v in kinds.most_common()))
    print("to be rejected (file, record, line, reason):")
    for file, record, line, reason in expected:
        print(f"  {file:<14} {record:>5} {line:>5}  {reason}")


def main():
    parser = argparse.ArgumentParser(
        description="Make customers.csv, activity.csv and expected_rejects.csv from CDNOW_sample.txt.",
        epilog="example: python3 examples/make_examples.py ../shared/data/CDNOW_sample.txt")
    parser.add_argument("sample", type=Path, metavar="CDNOW_sample.txt", help="the sample of Fader & Hardie")
    parser.add_argument("--today", type=dt.date.fromisoformat, default=dt.date.fromisoformat(TODAY), metavar="DATE",
                        help=f"the last purchase is moved to the day before this date (default: {TODAY})")
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parent, metavar="DIR",
                        help="where to write (default: the folder of this script)")
    args = parser.parse_args()

    sample = read_sample(args.sample, args.today)
    customers, household = make_customers(sample, args.today)
    activity = make_activity(sample, customers, args.today)

    good = list(customers.values())
    joined = min(r["joined_at"] for r in good)
    bad = [(reason, customer_reject_row(reason, change, joined)) for reason, change in customer_rejects(good)]
    rows = spread([[r[h] for h in HEADER] for r in good], bad)
    expected = [("customers.csv", *e) for e in write(args.out / "customers.csv", HEADER, rows)]

    bad = [(reason, activity_reject_row(reason, change, good[0]["external_id"], f"{joined}T12:00:00Z"))
           for reason, change in activity_rejects(activity)]
    rows = spread([[r[h] for h in ACTIVITY_HEADER] for r in activity], bad)
    expected += [("activity.csv", *e) for e in write(args.out / "activity.csv", ACTIVITY_HEADER, rows)]
    write(args.out / "expected_rejects.csv", ["file", "record", "line", "reason"], [(None, e) for e in expected])

    good, kinds = verify(args.out, sample, household, args.today, expected)
    summary(good, kinds, expected, household)


if __name__ == "__main__":
    main()
